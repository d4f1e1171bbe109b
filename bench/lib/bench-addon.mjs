/**
 * The unpublished addon that lets the `benchmark` package drive Rust code in this process: crates/pgtls-bench. Built when it is
 * asked for, by cargo, which does nothing when it is up to date; nothing that is published or tested needs it.
 *
 * Every function does so many operations, without input or output, and returns when they are done; the caller keeps the time. Each is
 * to be called with enough of them that the call itself (some 100 ns) doesn't matter.
 */
import process from 'node:process';
import { capture } from '../../scripts/lib/run.mjs';
import { Lacking } from './lacking.mjs';

/** The library alone; what cargo has made of it stands in its messages. */
const BUILD = [
  'build',
  '--release',
  '--package',
  'pgtls-bench',
  '--lib',
  '--quiet',
  '--message-format=json-render-diagnostics',
];

/**
 * @typedef {{
 *   encryptRecords: (recordBytes: number, count: number) => void,
 *   decryptRecords: (recordBytes: number, count: number) => number,
 *   handshakes: (kind: 'ecdsa' | 'rsa' | 'resumed', count: number) => void,
 *   sharedWrites: (writers: number, count: number) => Promise<void>,
 *   handoffs: (count: number) => Promise<void>,
 * }} BenchAddon
 * - `encryptRecords`, `decryptRecords`: TLS 1.3, AES-256-GCM, by the session that the relay uses. What is decrypted has been encrypted
 *   by a peer in the same call, since nothing can be decrypted twice: the answer is the nanoseconds of decrypting alone.
 * - `handshakes`: both ends, in memory, on one thread; TLS 1.3 with X25519, the certificate not verified.
 * - `sharedWrites`: so many threads encrypt 64 bytes each under one session's mutex, `count` times in all. The threads stay.
 * - `handoffs`: descriptors of socket pairs through `adopt` as far as the worker's first poll, which sends the `S`; 64 at once.
 *   Making and closing the pair is in it.
 */

/** The addon, built anew if its sources have changed. Lacking without cargo, an error when it can't be built. @returns {BenchAddon} */
export function loadBenchAddon() {
  const { code, stdout, output } = capture('cargo', BUILD);
  if (code === null) {
    throw new Lacking('cargo is not installed, which builds the bench addon: https://rustup.rs');
  }
  if (code !== 0) {
    throw new Error(`the bench addon can't be built\n${withoutMessages(output)}`);
  }
  const addon = { exports: {} };
  // A library by any name: require() wants one that ends in .node.
  process.dlopen(addon, libraryIn(stdout));
  return /** @type {BenchAddon} */ (addon.exports);
}

/** Where cargo has put it. @param {string} messages a line of JSON each */
function libraryIn(messages) {
  const files = messages
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ reason, target }) => reason === 'compiler-artifact' && isBenchAddon(target))
    .flatMap(({ filenames }) => filenames);
  const library = files.find((/** @type {string} */ name) => /\.(so|dylib)$/.test(name));
  if (library === undefined) {
    throw new Error(`cargo doesn't say where the bench addon is, only ${files.join(', ')}`);
  }
  return library;
}

/** @param {{ name: string, kind: string[] }} target */
function isBenchAddon({ name, kind }) {
  return name === 'pgtls_bench' && kind.includes('cdylib');
}

/** What was meant for people. @param {string} output */
function withoutMessages(output) {
  return output
    .split('\n')
    .filter((line) => !line.startsWith('{'))
    .join('\n')
    .trim();
}
