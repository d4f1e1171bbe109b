/**
 * `node scripts/smoke.mjs FOLDER`: whether the pgtls that npm installed into FOLDER runs here. Needs Node.js, openssl and no other file, so that it
 * can be tried on any machine and in any image: versions, doctor, and a query over TLS to a server that is played here.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';

/** Emulated CPUs take their time. */
const DEADLINE_MILLIS = 300_000;

/** Messages by PostgreSQL's documentation, chapter "Message Formats". */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const STARTUP = startup('user\0smoke\0database\0smoke\0\0');
const AUTHENTICATION_OK = message('R', Buffer.from([0, 0, 0, 0]));
const READY = message('Z', Buffer.from('I'));
const QUERY = message('Q', Buffer.from('select answer\0'));
const ANSWER = 'forty-two';

const [folder = '.'] = process.argv.slice(2);
/** As npm links it: also its head has to run here. */
const program = resolve(folder, 'node_modules/.bin/pgtls');
const directory = mkdtempSync(join(tmpdir(), 'pgtls-smoke-'));
setTimeout(() => {
  console.error('it took too long');
  process.exit(1);
}, DEADLINE_MILLIS).unref();
try {
  for (const command of ['--version', 'doctor']) {
    process.stdout.write(execFileSync(program, [command]));
  }
  await askThroughPgtls();
  console.log('a query over TLS was answered');
} finally {
  rmSync(directory, { recursive: true });
}

async function askThroughPgtls() {
  const server = createServer(playServer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const stdio = /** @type {const} */ (['ignore', 'pipe', 'inherit']);
  const child = spawn(program, ['-c', writeConfiguration(port)], { stdio });
  const answer = await ask(await portOf(child.stdout));
  if (!answer.includes(ANSWER)) {
    throw new Error(`the answer was ${JSON.stringify(answer)}`);
  }
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  server.close();
  if (code !== 0) {
    throw new Error(`pgtls ended with ${code}`);
  }
}

/** @param {number} port */
function writeConfiguration(port) {
  const [key, certificate, file] = ['tls.key', 'tls.crt', 'pgtls.toml'].map((name) =>
    join(directory, name),
  );
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files], { stdio: 'pipe' });
  writeFileSync(
    file,
    `[[proxy]]
name = "smoke"
[proxy.listener]
bind_address = "127.0.0.1:0"
sslmode = "require"
ssl_cert_file = "${certificate}"
ssl_key_file = "${key}"
[proxy.backend]
address = "127.0.0.1:${port}"
sslmode = "disable"
`,
  );
  return file;
}

/** Of the log's line about the listener. @param {import('node:stream').Readable} log @returns {Promise<number>} */
async function portOf(log) {
  for await (const line of createInterface({ input: log })) {
    const { event, listener_addr: address } = JSON.parse(line);
    if (event === 'listener.bind') {
      log.resume();
      return Number(/:(\d+)$/.exec(address)?.[1]);
    }
  }
  throw new Error('pgtls ended instead of listening');
}

/** @param {number} port @returns {Promise<string>} what came for a query */
async function ask(port) {
  const socket = connect(port, '127.0.0.1');
  socket.write(SSL_REQUEST);
  const [answer] = await once(socket, 'data');
  if (answer.toString() !== 'S') {
    throw new Error(`SSLRequest was answered by ${JSON.stringify(answer.toString())}`);
  }
  const ca = readFileSync(join(directory, 'tls.crt'));
  const session = connectTls({
    socket,
    ca,
    servername: 'localhost',
    ALPNProtocols: ['postgresql'],
  });
  session.write(STARTUP);
  await once(session, 'data');
  session.write(QUERY);
  let received = '';
  for await (const chunk of session) {
    received += chunk.toString('latin1');
    if (received.includes('SELECT 1')) {
      break;
    }
  }
  return received;
}

/** A server that lets everybody in and has one answer. @param {import('node:net').Socket} socket */
function playServer(socket) {
  socket.once('data', () => {
    socket.write(Buffer.concat([AUTHENTICATION_OK, READY]));
    socket.on('data', (request) => {
      if (request.equals(QUERY)) {
        const length = Buffer.from([0, 1, 0, 0, 0, ANSWER.length]);
        const row = message('D', Buffer.concat([length, Buffer.from(ANSWER)]));
        socket.write(Buffer.concat([row, message('C', Buffer.from('SELECT 1\0')), READY]));
      }
    });
  });
  socket.on('error', () => {});
}

/** @param {string} type @param {Buffer} body */
function message(type, body) {
  const head = Buffer.alloc(5, type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** Protocol 3.0. @param {string} parameters */
function startup(parameters) {
  const head = Buffer.alloc(8);
  head.writeInt32BE(parameters.length + 8, 0);
  head.writeInt32BE(3 << 16, 4);
  return Buffer.concat([head, Buffer.from(parameters)]);
}
