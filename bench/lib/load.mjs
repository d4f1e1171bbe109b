/** The program pgtls-load (crates/pgtls-testkit/src/bin/pgtls-load): clients and a fake backend, told what to do line by line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { ROOT } from '../../scripts/lib/paths.mjs';
import { run } from '../../scripts/lib/run.mjs';

const BINARY = `${ROOT}/target/release/pgtls-load`;

/** @typedef {{ backend: string, caFile: string, certFile: string, keyFile: string }} Stage where the backend is, and certificates */

/** Builds the program if it isn't there; the whole workspace, as the tests build it, so that nothing is compiled twice. */
function build() {
  if (existsSync(BINARY)) {
    return;
  }
  console.error('building pgtls-load …');
  if (run('cargo', ['build', '--workspace', '--release', '--bins']) !== 0) {
    throw new Error('pgtls-load could not be built');
  }
}

/** A running pgtls-load. */
export class Load {
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  /** @type {Array<{ done: string, resolve: (answer: any) => void, reject: (error: Error) => void }>} */
  #waiting = [];

  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.#child = child;
    if (child.stdout === null) {
      throw new Error('pgtls-load has no stdout');
    }
    createInterface({ input: child.stdout }).on('line', (line) => this.#answered(JSON.parse(line)));
    child.once('exit', (code, signal) => {
      for (const { done, reject } of this.#waiting.splice(0)) {
        reject(new Error(`pgtls-load ended (${code ?? signal}) before "${done}" was done`));
      }
    });
  }

  /** Starts it with its files in `directory`. @param {string} directory @returns {Promise<{ load: Load, stage: Stage }>} */
  static async start(directory) {
    build();
    const load = new Load(spawn(BINARY, [directory], { stdio: ['pipe', 'pipe', 'inherit'] }));
    return { load, stage: await load.#answer('start') };
  }

  /** Gives a command and waits for its answer. @param {string} word @param {Record<string, unknown>} [options] @returns {Promise<any>} */
  async do(word, options = {}) {
    const answer = this.#answer(word);
    this.#child.stdin?.write(`${JSON.stringify({ do: word, ...options })}\n`);
    return answer;
  }

  /** Ends it. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
  }

  /** @param {string} done @returns {Promise<any>} */
  #answer(done) {
    return new Promise((resolve, reject) => this.#waiting.push({ done, resolve, reject }));
  }

  /** @param {any} line */
  #answered(line) {
    const index = this.#waiting.findIndex(({ done }) => done === line.done);
    const [waiting] = index < 0 ? [] : this.#waiting.splice(index, 1);
    if (line.error === undefined) {
      waiting?.resolve(line.answer ?? line);
    } else {
      waiting?.reject(new Error(`${line.done}: ${line.error}`));
    }
  }
}
