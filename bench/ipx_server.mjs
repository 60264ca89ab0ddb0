// ipx with its own HTTP server for Node: `node ipx_server.mjs MODULES FOLDER PORT`. It has no signatures.

import { createRequire } from "node:module";
import http from "node:http";

const [modules, folder, port] = process.argv.slice(2);
const { createIPX, createIPXNodeServer, ipxFSStorage } = await import(createRequire(`${modules}/`).resolve("ipx"));
const ipx = createIPX({ storage: ipxFSStorage({ dir: folder }) });
http.createServer(createIPXNodeServer(ipx)).listen(Number(port), "127.0.0.1");
