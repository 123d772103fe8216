// SPDX-License-Identifier: Apache-2.0

// A service that makes code at run time: V8, in Node.js. /do?what=NAME does a deed.
'use strict';
const crypto = require('crypto');
const dns = require('dns');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const { Worker } = require('worker_threads');
const zlib = require('zlib');

const deeds = {
  async 'compiled-functions'() {
    const hot = (n) => { let s = 0; for (let i = 0; i < n; i++) s = (s * 31 + i) | 0; return s; };
    for (let i = 0; i < 2000; i++) hot(10000);
  },
  async 'webassembly'() {
    const bytes = Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a' +
      '09010700200020016a0b', 'hex');
    const { instance } = await WebAssembly.instantiate(bytes);
    if (instance.exports.add(40, 2) !== 42) throw new Error('wrong sum');
  },
  async 'worker-threads'() {
    const worker = new Worker('require("worker_threads").parentPort.postMessage(42)',
      { eval: true });
    const [said] = await require('events').once(worker, 'message');
    await worker.terminate();
    if (said !== 42) throw new Error(`it said ${said}`);
  },
  async 'thread-pool'() {
    await Promise.all([...Array(8).keys()].map(() => new Promise((done, fail) =>
      crypto.pbkdf2('p', 's', 1000, 32, 'sha256', (error) => error ? fail(error) : done()))));
    zlib.gzipSync(Buffer.alloc(1 << 20));
  },
  async 'files'() {
    const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'deed-'));
    await fs.promises.writeFile(path.join(folder, 'a'), 'text');
    await fs.promises.rm(folder, { recursive: true });
  },
  async 'fetch-from-a-peer'() {
    await dns.promises.lookup('peer.service.dnode');
    await new Promise((done, fail) => http.get('http://peer.service.dnode/', (answer) => {
      answer.resume();
      answer.on('end', done);
    }).on('error', fail));
  },
};

http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://node');
  const what = url.searchParams.get('what');
  let [status, text] = [200, url.pathname === '/list' ? Object.keys(deeds).join('\n') : 'ok'];
  if (url.pathname === '/do') {
    try {
      await deeds[what]();
      text = `did ${what}`;
    } catch (error) {
      [status, text] = [500, `${what}: ${error}`];
    }
  }
  response.writeHead(status);
  response.end(text + '\n');
}).listen(8080);
