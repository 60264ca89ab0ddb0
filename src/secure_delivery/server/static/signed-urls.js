// Signed URLs for a page. The secret stays on your backend; its endpoint answers {policy, signature, expiry}.
//   const sign = signedUrls({endpoint: "/sign", base: "https://files.example.org"});
//   image.src = await sign.url(handle, "resize=width:300");
// An answer is shared until `early` seconds before its end. `scope` says what one answer is good for.
export function signedUrls({
  endpoint, base, method = "GET", init, early = 30, scope = (handle, tasks) => handle + "/" + tasks,
}) {
  const kept = new Map();

  async function ask(entry, handle, tasks) {
    const asked = new URLSearchParams({ handle, tasks });
    const [url, body] = method === "GET" ? [endpoint + (/\?/.test(endpoint) ? "&" : "?") + asked] : [endpoint, asked];
    const response = await fetch(url, { cache: "no-store", ...init, method, body });
    if (!response.ok) throw new Error("refused: " + response.status);
    const grant = await response.json();
    // By the server's clock: this device's may be wrong.
    const ahead = Date.now() - Date.parse(response.headers.get("date")) || 0;
    entry.until = (grant.expiry - early) * 1000 + ahead || 0;
    return grant;
  }

  function grant(handle, tasks, fresh) {
    const key = scope(handle, tasks);
    const known = kept.get(key);
    if (known && !fresh && Date.now() < known.until) return known.answer;
    const entry = { until: Infinity };
    kept.set(key, entry);
    entry.answer = ask(entry, handle, tasks);
    entry.answer.catch(() => (entry.until = 0));
    return entry.answer;
  }

  return {
    // `tasks` as documented, not percent-encoded. `fresh` asks anew.
    async url(handle, tasks = "", fresh = false) {
      const { policy, signature } = await grant(handle, tasks, fresh);
      const chain = tasks.replace(/"[^"]*"|[^\w=:,/.~-]/gu, encodeURIComponent);
      const security = `security=policy:%22${encodeURIComponent(policy)}%22,signature:${signature}`;
      return [base.replace(/\/$/, ""), security, chain, encodeURIComponent(handle)].filter(Boolean).join("/");
    },
  };
}
