/** Programs that a run starts beside pgtls: started at a place, waited for, ended by their process id. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { pause } from './proxy.mjs';

const START_MILLIS = 20_000;
const STOP_MILLIS = 5_000;
const LINES_KEPT = 20;
const POLL_MILLIS = 5;

/** @typedef {import('./pinning.mjs').Place} Place */
/** @typedef {{ uid: number, gid: number } | null} Ids whose rights it has; null = ours */

/** A running program. */
export class Child {
  #child;
  #closed;
  /** @type {string[]} */
  #said = [];

  /** @param {Place} place @param {string} command @param {readonly string[]} args @param {Ids} [ids] */
  constructor(place, command, args, ids = null) {
    const [program, programArgs] = place.command(command, args);
    this.#child = spawn(program, programArgs, {
      ...ids,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#closed = once(this.#child, 'close').catch((error) => this.#keep(String(error)));
    this.#child.once('error', (error) => this.#keep(String(error)));
    this.#child.stdout.on('data', (chunk) => this.#keep(String(chunk)));
    this.#child.stderr.on('data', (chunk) => this.#keep(String(chunk)));
  }

  /** taskset becomes the program, so it is the program's own. */
  get pid() {
    return this.#child.pid ?? -1;
  }

  /** The last lines that it wrote. */
  get said() {
    return this.#said.join('\n');
  }

  get hasEnded() {
    return (
      this.#child.pid === undefined ||
      this.#child.exitCode !== null ||
      this.#child.signalCode !== null
    );
  }

  /** Waits until it accepts connections. @param {number} port @param {string} name */
  async accepts(port, name) {
    const deadline = Date.now() + START_MILLIS;
    while (!(await canConnect(port))) {
      if (this.hasEnded || Date.now() > deadline) {
        await this.stop();
        throw new Error(`${name} did not start\n${this.said}`);
      }
      await pause(POLL_MILLIS);
    }
  }

  /** SIGTERM, then SIGKILL; returns once it has ended. */
  async stop() {
    if (this.hasEnded) {
      return;
    }
    const harder = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MILLIS);
    this.#child.kill('SIGTERM');
    await this.#closed;
    clearTimeout(harder);
  }

  /** @param {string} text */
  #keep(text) {
    this.#said.push(...text.split('\n').filter((line) => line !== ''));
    this.#said.splice(0, this.#said.length - LINES_KEPT);
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
