// Drives the official Node client of FilePreviews, unmodified: an order in JSON on standard input, one line of JSON per case on
// the output. The host name in the client is a constant; HTTPS_PROXY and NODE_EXTRA_CA_CERTS lead it to the server of the test.
'use strict';

const FilePreviews = require('filepreviews');

const say = (line) => process.stdout.write('\n\x1e' + JSON.stringify(line) + '\n');
const plain = (thing) => (thing === undefined ? { undefined: true } : thing);

/** What a callback was given. */
const called = (start) =>
  new Promise((resolve, reject) => start((error, result) => (error ? reject({ answer: error }) : resolve(result))));

async function main(order) {
  const client = new FilePreviews({ apiKey: order.key, apiSecret: order.secret });
  const stranger = new FilePreviews({ apiKey: order.key, apiSecret: 'not the secret' });
  const direct = order.api_url + '/previews/';

  async function followed(start) {
    const made = await called(start);
    const ends = Date.now() + order.seconds * 1000;
    for (;;) {
      const ended = await called((back) => client.retrieve(made.id, back));
      if (!['pending', 'started'].includes(ended.status) || Date.now() > ends) return { made, ended };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const generated = (options, url = order.photo) => followed((back) => client.generate(url, options, back));

  const logged = [];
  const keep = (work) => {
    const log = console.log;
    console.log = (...said) => logged.push(said.map(String).join(' '));
    return Promise.resolve(work()).finally(() => (console.log = log));
  };
  const loud = new FilePreviews({ apiKey: order.key, apiSecret: order.secret, debug: true });

  const cases = {
    'FilePreviews': () => new FilePreviews({ apiKey: 'k', apiSecret: 's' }),
    'FilePreviews without a key': () => new FilePreviews({ apiSecret: 's' }),
    'FilePreviews without a secret': () => new FilePreviews({ apiKey: 'k' }),
    'FilePreviews without anything': () => new FilePreviews(),
    'generate': () => followed((back) => client.generate(order.photo, back)),
    'generate {}': () => generated({}),
    'generate size': () => generated({ size: { width: 250, height: 200 } }),
    'generate width': () => generated({ size: { width: 120 } }),
    'generate height': () => generated({ size: { height: 90 } }),
    'generate no side': () => generated({ size: {} }),
    'generate sizes': () => generated({ sizes: ['40x30', '5000>', 'original'] }),
    'generate metadata': () => generated({ metadata: ['checksum', 'exif', 'sketch'] }),
    'generate format': () => generated({ format: 'jpg' }),
    'generate pages': () => generated({ pages: '1-2', size: { width: 60 } }, order.paper),
    'generate data': () => generated({ data: { order: 17, tags: ['ä'] } }),
    'generate uploader': () => generated({ uploader: { destination: 'previews/17', public: true } }),
    'generate callback_url': () =>
      generated({ callback_url: order.hook, data: { from: 'node' }, metadata: ['checksum'] }),
    'generate failing': () => generated({}, order.missing),
    'generate without a callback': () => plain(client.generate(order.quiet)),
    'generate with a wrong secret': () => called((back) => stranger.generate(order.photo, {}, back)),
    'generate a blank url': () => called((back) => client.generate('', {}, back)),
    'generate with a wrong size': () => called((back) => client.generate(order.photo, { size: { width: 'wide' } }, back)),
    'retrieve': async () => {
      const { ended } = await generated({ size: { width: 20 } });
      return { ended, again: await called((back) => client.retrieve(ended.id, back)) };
    },
    'retrieve an unknown id': () => called((back) => client.retrieve('123', back)),
    'retrieve with a wrong secret': () => called((back) => stranger.retrieve('123', back)),
    'request': () =>
      followed((back) => client.request(direct, { method: 'POST', data: { url: order.photo, sizes: ['44'] } }, back)),
    'request a list': () => called((back) => client.request(direct + '?limit=2', {}, back)),
    'request without a body': () => called((back) => client.request(direct, { method: 'POST' }, back)),
    'getAPIRequestData': () => ({
      both: client.getAPIRequestData('http://a/b', { size: { width: 250, height: 200 }, format: 'jpg' }),
      width: client.getAPIRequestData('http://a/b', { size: { width: 250 } }),
      height: client.getAPIRequestData('http://a/b', { size: { height: 200 } }),
      alone: client.getAPIRequestData('http://a/b'),
      callback: client.getAPIRequestData('http://a/b', () => null),
    }),
    'log': async () => {
      const same = await keep(() => loud.log('a word') === loud && client.log('no word') === client);
      await keep(() => called((back) => loud.retrieve('123', back)).catch(() => null));
      return { same, logged };
    },
    'too many': async () => {
      const small = new FilePreviews({ apiKey: order.small.key, apiSecret: order.small.secret });
      for (let count = 0; count < 6; count++) await called((back) => small.generate(order.slow, {}, back));
    },
  };
  for (const [name, work] of Object.entries(cases)) {
    try {
      say({ case: name, ok: true, value: plain(await work()) });
    } catch (error) {
      say({ case: name, ok: false, error: error.answer ? { answer: error.answer } : { message: String(error.message) } });
    }
  }
  say({ ran: [], has: Object.keys(FilePreviews.prototype), version: FilePreviews.VERSION });
}

let text = '';
process.stdin.on('data', (piece) => (text += piece)).on('end', () => main(JSON.parse(text)));
