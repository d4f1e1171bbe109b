/**
 * What the service manager (systemd) is told, in the words of sd_notify(3): ready, reloading, stopping, who the main process is, and
 * that the event loop still turns (the watchdog).
 */
import type { Logger } from '../observability/logger.ts';
import type { ProxyPhase, ProxyState } from './state.ts';

/** What it needs. */
export interface ServiceManagerOptions {
  /** Sends lines of `KEY=value`; may throw. */
  readonly notify: (message: string) => void;
  readonly state: ProxyState;
  /** Within which time a sign of life is expected; 0 = never. */
  readonly watchdogMicros: number;
  /** CLOCK_MONOTONIC. */
  readonly monotonicMicros: () => bigint;
  readonly logger: Logger;
}

/** The service manager's watchdog is told twice as often as it asks for. */
const SIGNS_PER_WATCHDOG = 2;

/** Tells by itself as the state changes; owns the watchdog's unref'd timer until the process ends. */
export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  #timer: NodeJS.Timeout | null = null;
  #isSilent = false;
  #hasFailed = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { state, watchdogMicros } = options;
    state.onChange((phase) => this.#enter(phase));
    if (watchdogMicros > 0) {
      const millis = Math.max(1, Math.floor(watchdogMicros / SIGNS_PER_WATCHDOG / 1_000));
      this.#timer = setInterval(() => this.#tell('WATCHDOG=1'), millis).unref();
    }
  }

  /** A reload begins or ends, whatever became of it. */
  reload(state: 'begins' | 'ends'): void {
    if (this.#options.state.phase !== 'ready') {
      return;
    }
    if (state === 'begins') {
      this.#tell(
        `RELOADING=1\nMONOTONIC_USEC=${this.#options.monotonicMicros()}\nSTATUS=reloading`,
      );
    } else {
      this.#enter('ready');
    }
  }

  /** The successor is the service from now on; this process says nothing more. */
  handOver(successorPid: number): void {
    this.#tell(`MAINPID=${successorPid}\nSTATUS=serving`);
    this.#isSilent = true;
    if (this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }

  #enter(phase: ProxyPhase): void {
    if (phase === 'ready') {
      this.#tell('READY=1\nSTATUS=serving');
    } else if (phase === 'draining') {
      this.#tell('STOPPING=1\nSTATUS=draining: waiting for sessions to end');
    }
  }

  /** One that cannot be told is a warning, once: it would be one every few seconds. */
  #tell(message: string): void {
    if (this.#isSilent) {
      return;
    }
    try {
      this.#options.notify(message);
      this.#hasFailed = false;
    } catch (err) {
      if (!this.#hasFailed) {
        this.#options.logger.warn(
          { event: 'service.notify', err },
          'the service manager could not be told',
        );
      }
      this.#hasFailed = true;
    }
  }
}
