import door_apps
def test_smoke(stack):
    a = stack("open","GET","/photos/x"); print(a)
    assert a.status==200
    a = stack("secured","GET","/photos/x"); print(a)
    assert a.status==403
