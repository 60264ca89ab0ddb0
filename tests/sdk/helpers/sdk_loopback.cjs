// Loaded before a driver: every host name of the test's domain is loopback, port 443 of it is the front's port, and no other
// name exists. The SDK is not touched, and its certificates are checked as ever (NODE_EXTRA_CA_CERTS names the authority).
"use strict";
const dns = require("dns");
const net = require("net");
const domain = process.env.SDK_DOMAIN;
const port = Number(process.env.SDK_PORT);
const asked = (global.sdkHosts = new Set());
const ours = (host) => host === domain || String(host).endsWith(`.${domain}`);

dns.lookup = (host, options, done) => {
  const answer = typeof options === "function" ? options : done;
  const all = typeof options === "object" && options && options.all;
  asked.add(host);
  if (!ours(host)) {
    const error = new Error(`no such name: ${host}`);
    error.code = "ENOTFOUND";
    process.nextTick(answer, error);
  } else if (all) process.nextTick(answer, null, [{ address: "127.0.0.1", family: 4 }]);
  else process.nextTick(answer, null, "127.0.0.1", 4);
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options && ours(options.host) && Number(options.port) === 443) options.port = port;
  if (options && typeof options === "object" && options.lookup === undefined) options.lookup = dns.lookup;
  return connect.apply(this, given);
};
