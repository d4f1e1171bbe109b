/** The real program in a child process, and what the kernel knows of it: memory by mapping, descriptors, threads. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PROGRAM } from '../../scripts/lib/paths.mjs';
import { Place } from './pinning.mjs';

const START_MILLIS = 20_000;
const STOP_MILLIS = 30_000;
const POLL_MILLIS = 5;

/** @typedef {Record<string, any>} LogLine */
/** @typedef {{ name: string, backend: string }} Route */
/** @typedef {{ certFile: string, keyFile: string }} Certificate */
/**
 * Proportional set size in KiB: the whole process, and its parts.
 * @typedef {{ total: number, native: number, rest: number, files: number }} Memory
 */

/**
 * A configuration of TLS listeners in front of plaintext backends.
 * @param {Certificate} certificate @param {readonly Route[]} routes @param {Record<string, string | number>} [top]
 */
export function configText(certificate, routes, top = {}) {
  const table = (/** @type {Record<string, string | number>} */ values) =>
    Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return [
    ...table(top),
    ...routes.flatMap(({ name, backend }) => [
      '[[proxy]]',
      ...table({ name }),
      '[proxy.listener]',
      ...table({
        bind_address: '127.0.0.1:0',
        sslmode: 'require',
        ssl_cert_file: certificate.certFile,
        ssl_key_file: certificate.keyFile,
      }),
      '[proxy.backend]',
      ...table({ address: backend, sslmode: 'disable' }),
    ]),
    '',
  ].join('\n');
}

/** The options of Node.js in the program's head, its first two lines. @param {string} program @returns {string[]} */
export function nodeOptions(program) {
  const head = readFileSync(program, 'utf8').split('\n', 2);
  return head.flatMap((line) => line.split(' ')).filter((word) => word.startsWith('--'));
}

/** A running pgtls. */
export class PgtlsProcess {
  /** Addresses by route. @type {Map<string, string>} */
  addresses = new Map();
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  #stderr = '';
  #closed;

  /** @param {import('node:child_process').ChildProcess} child @param {(line: LogLine) => void} onLine */
  constructor(child, onLine) {
    this.#child = child;
    this.#closed = once(child, 'close');
    if (child.stdout === null) {
      throw new Error('pgtls has no stdout');
    }
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text);
      if (line.event === 'listener.bind') {
        this.addresses.set(line.route, line.listener_addr);
      }
      onLine(line);
    });
    child.stderr?.on('data', (chunk) => {
      this.#stderr += chunk;
    });
  }

  /**
   * Starts the program as its head does, with its configuration in `directory`, and waits until its routes are bound.
   * @param {string} directory @param {string} config
   * @param {{ onLine?: (line: LogLine) => void, program?: string, place?: import('./pinning.mjs').Place }} [options]
   */
  static async start(
    directory,
    config,
    { onLine = () => undefined, program = PROGRAM, place = new Place(null) } = {},
  ) {
    const file = join(directory, 'pgtls.toml');
    writeFileSync(file, config);
    const args = [...nodeOptions(program), program, '-c', file];
    const child = spawn(...place.command(process.execPath, args), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const proxy = new PgtlsProcess(child, onLine);
    const routes = config.match(/^\[\[proxy\]\]/gm)?.length ?? 0;
    const deadline = Date.now() + START_MILLIS;
    while (proxy.addresses.size < routes) {
      if (proxy.hasEnded || Date.now() > deadline) {
        await proxy.kill();
        throw new Error(`pgtls did not start\n${proxy.#stderr}`);
      }
      await pause(POLL_MILLIS);
    }
    return proxy;
  }

  get pid() {
    return this.#child.pid ?? -1;
  }

  get hasEnded() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** What it wrote to stderr. */
  get stderr() {
    return this.#stderr;
  }

  /** A route's address; without a name, the first one's. @param {string} [route] */
  address(route) {
    const address =
      route === undefined ? [...this.addresses.values()][0] : this.addresses.get(route);
    if (address === undefined) {
      throw new Error(`no route ${route} is bound`);
    }
    return address;
  }

  /** SIGTERM; the exit code once all its output was read. @returns {Promise<number | null>} */
  async stop() {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MILLIS);
    this.#child.kill('SIGTERM');
    const [code] = await this.#closed;
    clearTimeout(timer);
    return code;
  }

  /** Ends it at once. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  /** Open sockets, and all other descriptors. */
  descriptors() {
    const folder = `/proc/${this.pid}/fd`;
    const targets = readdirSync(folder).map((name) => targetOf(join(folder, name)));
    const sockets = targets.filter((target) => target.startsWith('socket:')).length;
    return { sockets, others: targets.length - sockets };
  }

  /** How many threads it has. */
  threads() {
    return readdirSync(`/proc/${this.pid}/task`).length;
  }

  /** Its memory now. @returns {Memory} */
  memory() {
    return memoryOf(this.pid);
  }

  /** Its memory once it stays the same, or after so long. @param {number} [seconds] */
  settledMemory(seconds) {
    return settledMemory(this.pid, seconds);
  }
}

/** @param {string} link */
function targetOf(link) {
  try {
    return readlinkSync(link);
  } catch {
    return 'closed meanwhile';
  }
}

/** How many connections the kernel of this machine has reset for want of TCP memory since it started. */
export function resetsForWantOfMemory() {
  const [names = '', values = ''] = readFileSync('/proc/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'));
  const index = names.split(' ').indexOf('TCPAbortOnMemory');
  return Number(values.split(' ')[index] ?? 0);
}

/** glibc gives each thread that allocates an arena of heaps that begin at multiples of this. */
const ARENA_HEAP_BYTES = 64n << 20n;

/**
 * Memory of a process, by mapping. `native` is what malloc manages: `[heap]`, and the arenas of the threads, which are known
 * by where they begin. Rust lives there, and so do Node's C++ objects: an upper bound of the data plane. `rest` is the other
 * anonymous memory: V8, stacks, and allocations so large (from 128 KiB) that malloc maps them one by one.
 * @param {number} pid @returns {Memory}
 */
function memoryOf(pid) {
  const memory = { total: 0, native: 0, rest: 0, files: 0 };
  /** @type {keyof Memory} */
  let kind = 'rest';
  let arenaEnd = 0n;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const mapping = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) *(.*)$/.exec(line);
    if (mapping !== null) {
      const [, from = '', to = '', inode, name = ''] = mapping;
      const [start, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
      const beginsArena = start % ARENA_HEAP_BYTES === 0n && end - start <= ARENA_HEAP_BYTES;
      if (beginsArena && name === '') {
        arenaEnd = start + ARENA_HEAP_BYTES;
      }
      kind = kindOf(name, inode !== '0', start < arenaEnd && end <= arenaEnd);
      continue;
    }
    const kilobytes = Number(/^Pss: +(\d+) kB$/.exec(line)?.[1] ?? 0);
    memory[kind] += kilobytes;
    memory.total += kilobytes;
  }
  return memory;
}

/** @param {string} name @param {boolean} isFile @param {boolean} isInArena @returns {keyof Memory} */
function kindOf(name, isFile, isInArena) {
  if (isFile) {
    return 'files';
  }
  return name === '[heap]' || (name === '' && isInArena) ? 'native' : 'rest';
}

const SAME_KILOBYTES = 128;
const SAME_READINGS = 4;
/** Eight seconds after JavaScript was last busy V8 sets about giving garbage back; a moment before that looks settled, too. */
const IDLE_SECONDS = 15;

/**
 * Memory once four readings, a second apart, are the same to 128 KiB, though not before V8 has cleaned up; or the last one.
 * @param {number} pid @param {number} [seconds] @returns {Promise<Memory>}
 */
async function settledMemory(pid, seconds) {
  return settledReading(() => memoryOf(pid), seconds);
}

/** The same for any reading that has a total. @template {{ total: number }} R @param {() => R} read @param {number} [seconds] @returns {Promise<R>} */
export async function settledReading(read, seconds = 40) {
  const readings = [read()];
  for (let second = 1; second <= seconds; second += 1) {
    await pause(1000);
    readings.push(read());
    const last = readings.slice(-SAME_READINGS).map(({ total }) => total);
    if (second >= IDLE_SECONDS && Math.max(...last) - Math.min(...last) <= SAME_KILOBYTES) {
      break;
    }
  }
  return readings.at(-1) ?? read();
}

/** @param {number} millis @returns {Promise<void>} */
export function pause(millis) {
  return new Promise((resolve) => setTimeout(resolve, millis));
}
