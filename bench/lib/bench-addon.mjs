/**
 * The unpublished addon that lets the `benchmark` package drive Rust code in this process: what bench/measures/in-process.mjs expects
 * of it. Where it has not been built, the run says so and measures the sides of node:tls and `openssl speed` alone.
 *
 * Every function does so many operations, without input or output, and returns when they are done; the caller keeps the time. Each is
 * to be called with enough of them that the call itself (some 100 ns) doesn't matter.
 */
import { existsSync } from 'node:fs';
import { ROOT } from '../../scripts/lib/paths.mjs';

/** Where it is looked for. */
const ADDON = `${ROOT}/crates/pgtls-bench/binding/index.js`;

/**
 * @typedef {{
 *   encryptRecords: (recordBytes: number, count: number) => void,
 *   decryptRecords: (recordBytes: number, count: number) => void,
 *   handshakes: (kind: 'ecdsa' | 'rsa' | 'resumed', count: number) => void,
 *   sharedWrites: (writers: number, count: number) => Promise<void>,
 *   handoffs: (count: number) => Promise<void>,
 * }} BenchAddon
 * - `encryptRecords`, `decryptRecords`: TLS 1.3, AES-256-GCM, by the session that the relay uses. Decrypting gets its records from a
 *   peer that encrypted them before; how long that took is the caller's business to subtract, so prepare it at the first call.
 * - `handshakes`: both ends, in memory, on one thread.
 * - `sharedWrites`: so many threads encrypt 64 bytes each under one session's mutex, `count` times in all.
 * - `handoffs`: descriptors of socket pairs through `adopt` as far as the worker's first poll.
 */

/** The addon; null when it wasn't built. @returns {Promise<BenchAddon | null>} */
export async function loadBenchAddon() {
  return existsSync(ADDON) ? import(ADDON) : null;
}
