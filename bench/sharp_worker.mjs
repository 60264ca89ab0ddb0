// Makes pictures smaller with sharp, on request; speaks the lines of worker.py.
// One thread and no cache of operations: the same picture comes again and again here, and would be remembered.

import { createRequire } from "node:module";
import readline from "node:readline";

const sharp = createRequire(process.argv[2] + "/")("sharp");
sharp.concurrency(1);
sharp.cache(false);

const thumbnail = (path, width) => sharp(path).resize({ width }).jpeg({ quality: 80 });
const chain = (path, mark) =>
  sharp(path)
    .extract({ left: 500, top: 400, width: 3000, height: 2200 })
    .resize({ width: 1000 })
    .rotate(90)
    .composite([{ input: mark, gravity: "southeast" }])
    .webp({ quality: 80 });

console.log(`ready ${sharp.versions.sharp} libvips ${sharp.versions.vips} node ${process.version}`);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [count, path, work] = line.split(" ");
  const wall = process.hrtime.bigint();
  const before = process.cpuUsage();
  let data;
  for (let number = 0; number < Number(count); number += 1) {
    data = await (Number(work) ? thumbnail(path, Number(work)) : chain(path, work)).toBuffer();
  }
  const seconds = Number(process.hrtime.bigint() - wall) / 1e9;
  const used = process.cpuUsage(before);
  console.log(seconds, (used.user + used.system) / 1e6, data.length);
}
