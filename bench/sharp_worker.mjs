// Makes pictures smaller with sharp, on request; speaks the lines of worker.py.
// One thread and no cache of operations: the same picture comes again and again here, and would be remembered.

import { createRequire } from "node:module";
import readline from "node:readline";

const sharp = createRequire(process.argv[2] + "/")("sharp");
sharp.concurrency(1);
sharp.cache(false);

console.log(`ready ${sharp.versions.sharp} libvips ${sharp.versions.vips} node ${process.version}`);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [count, path, width] = line.split(" ");
  const wall = process.hrtime.bigint();
  const before = process.cpuUsage();
  let data;
  for (let number = 0; number < Number(count); number += 1) {
    data = await sharp(path).resize({ width: Number(width) }).jpeg({ quality: 80 }).toBuffer();
  }
  const seconds = Number(process.hrtime.bigint() - wall) / 1e9;
  const used = process.cpuUsage(before);
  console.log(seconds, (used.user + used.system) / 1e6, data.length);
}
