-- Asks for the URLs of a file in turn, and reports one line that a program can read.
-- Every request is written out before the clock starts, so that the generator costs the same for one URL and for thousands.

local requests, at = {}, 0

function init(args)
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", path, { ["Host"] = "127.0.0.1", ["Origin"] = args[2] })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
