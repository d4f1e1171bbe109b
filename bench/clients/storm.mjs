/**
 * Logs in again and again, so many at a time, and leaves at once each time: the storm of bench/storm.mjs.
 *
 * `node bench/clients/storm.mjs PORT CONNECTS AT_ONCE`, the CA's certificate as PEM on standard input; prints one line of JSON.
 */
import { text } from 'node:stream/consumers';
import pg from 'pg';

const [port = 0, connects = 0, atOnce = 0] = process.argv.slice(2).map(Number);
const ca = await text(process.stdin);
const ssl = { ca, servername: 'localhost' };
let left = connects;
let failed = 0;
/** @type {Set<string>} */
const reasons = new Set();

async function login() {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    ssl,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.end();
  } catch (error) {
    failed += 1;
    reasons.add(String(error));
  }
}

async function loginsInARow() {
  while (left > 0) {
    left -= 1;
    await login();
  }
}

const began = performance.now();
await Promise.all(Array.from({ length: atOnce }, loginsInARow));
const millis = performance.now() - began;
console.log(JSON.stringify({ millis, failed, reasons: [...reasons].slice(0, 3) }));
