/**
 * What the measure of the hand-off compares, one per process: `node hand-off.mjs bare` is as little as Node can do for a
 * connection, `node hand-off.mjs FILE` pgtls with that configuration. Says `{"port": …}` once it listens; SIGTERM ends it.
 *
 * pgtls is made by its public API, all of it but the command line: listener, negotiation, adopt, reports, and the log at the level of
 * the configuration.
 */
import { createServer } from 'node:net';
import process from 'node:process';

const SSL_REQUEST_BYTES = 8;

/** Accepts, reads an SSLRequest, writes `S`, closes. @returns {Promise<number>} */
function listenBare() {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    let bytes = 0;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes === SSL_REQUEST_BYTES) {
        socket.write('S', () => socket.destroy());
      }
    });
  });
  return new Promise((resolve) => {
    server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
      resolve(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
    });
  });
}

/** @param {string} file @returns {Promise<number>} */
async function listenAsPgtls(file) {
  const [{ createProxy }, { pino }] = await Promise.all([
    import('../../dist/index.js'),
    import('pino'),
  ]);
  const timestamp = pino.stdTimeFunctions.isoTime;
  const logger = pino({ base: null, timestamp, level: 'trace' }, pino.destination({ sync: true }));
  const [bound] = await createProxy({ file }, { logger }).listen();
  return Number(bound?.address.split(':').at(-1));
}

const [, , what = 'bare'] = process.argv;
process.once('SIGTERM', () => process.exit(0));
const port = await (what === 'bare' ? listenBare() : listenAsPgtls(what));
console.log(JSON.stringify({ port }));
