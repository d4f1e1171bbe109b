/** Takeovers of a running pgtls: which process serves now, and all of them ended with the test. */
import { onTestFinished } from 'vitest';
import { RunningProxy, type StartOptions } from './running-proxy.ts';
import { until } from './until.ts';

/** A pgtls whose processes replace each other; they share one log. */
export class Generations {
  readonly proxy: RunningProxy;
  #pid: number;
  #count = 0;

  private constructor(proxy: RunningProxy) {
    this.proxy = proxy;
    this.#pid = proxy.pid;
  }

  /** Starts the first one. */
  static async start(config: string, options: StartOptions = {}): Promise<Generations> {
    const generations = new Generations(await RunningProxy.start(config, options));
    onTestFinished(() => generations.#end());
    return generations;
  }

  /** The process that serves. */
  get pid(): number {
    return this.#pid;
  }

  /** Lets a successor take over, and gives its process id. */
  async next(): Promise<number> {
    process.kill(this.#pid, 'SIGUSR2');
    this.#count += 1;
    const pids = await until(
      `${this.#count} takeovers have succeeded`,
      () => {
        const found = this.#successes();
        return found.length === this.#count ? found : null;
      },
      { explain: () => this.proxy.output },
    );
    this.#pid = pids.at(-1) ?? this.#pid;
    return this.#pid;
  }

  /** How many processes have ended in good order. */
  get endedCount(): number {
    const { logs } = this.proxy;
    return logs.filter(({ event, msg }) => event === 'shutdown' && msg === 'closed').length;
  }

  #successes(): number[] {
    return this.proxy.logs
      .filter(({ event, result }) => event === 'takeover' && result === 'success')
      .map((line) => Number(line['successor_pid']));
  }

  async #end(): Promise<void> {
    for (const pid of [this.proxy.pid, ...this.#successes()]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    await this.proxy.kill();
  }
}
