/** A data plane that only records, and a proxy in front of it whose log is kept. */
import { Writable } from 'node:stream';
import { vi } from 'vitest';
import type { Config } from '../../src/config/schema.ts';
import type {
  Answer,
  DataPlane,
  DataPlaneOptions,
  DataPlaneSnapshot,
  DrainReport,
  Handoff,
  Inspection,
  OnDataPlaneEvent,
  RouteOptions,
} from '../../src/data-plane/data-plane.ts';
import { createLogger, type Logger } from '../../src/observability/logger.ts';
import { type Proxy as RunningProxy, startProxy } from '../../src/proxy/proxy.ts';
import { report } from '../data-plane/report-fixture.ts';

/** Remembers what it was asked; ends a drain only when `finishDrain` is called or nothing lives. */
export class FakeDataPlane implements DataPlane {
  readonly calls: string[] = [];
  readonly handoffs: Handoff[] = [];
  readonly answers: { questionId: number; answer: Answer }[] = [];
  readonly reloads: RouteOptions[][] = [];
  readonly options: DataPlaneOptions;
  readonly emit: OnDataPlaneEvent;
  failReload: Error | null = null;
  /** What a reload waits for. */
  reloadGate: Promise<void> = Promise.resolve();
  inspection: () => Inspection = () => ({ problems: [], warnings: [], identities: [], dated: [] });
  liveSessions = 0;
  #finish: ((report: DrainReport) => void) | null = null;

  constructor(options: DataPlaneOptions, emit: OnDataPlaneEvent) {
    this.options = options;
    this.emit = emit;
  }

  async reload(routes: RouteOptions[]): Promise<void> {
    this.reloads.push(routes);
    await this.reloadGate;
    if (this.failReload !== null) {
      throw this.failReload;
    }
  }

  async inspect(): Promise<Inspection> {
    return this.inspection();
  }

  receiveAtOnce(): number {
    return 0;
  }

  adopt(_fd: number, handoff: Handoff): void {
    this.handoffs.push(handoff);
  }

  answer(questionId: number, answer: Answer): boolean {
    this.answers.push({ questionId, answer });
    return true;
  }

  snapshot(): DataPlaneSnapshot {
    return {
      workers: 1,
      workerRestarts: 0,
      supervisorRestarts: 0,
      keeperRestarts: 0,
      liveSessions: this.liveSessions,
      handshakesLimit: 256,
      handshakesWaiting: 0,
      tlsConnections: [],
      routes: [],
    };
  }

  drain(graceMillis: number): Promise<DrainReport> {
    this.calls.push(`drain ${graceMillis}`);
    if (graceMillis === 0 || this.liveSessions === 0) {
      this.#reportAll();
      return Promise.resolve({ drained: 0, cut: this.liveSessions });
    }
    return new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  finishDrain(drained: DrainReport): void {
    this.#reportAll();
    this.#finish?.(drained);
  }

  /** Each that was taken over ends, as they do in a drain. */
  #reportAll(): void {
    const reports = this.handoffs.map(({ connectionId, routeId }) =>
      report({ connectionId, routeId }),
    );
    this.emit({ type: 'connections-closed', reports });
  }

  close(): void {
    this.calls.push('close');
  }
}

/** One parsed line of the log. */
export type LogLine = Record<string, unknown>;

/** A proxy over a fake data plane. */
export interface RunningFake {
  readonly proxy: RunningProxy;
  readonly dataPlane: FakeDataPlane;
  readonly log: LogLine[];
  /** The first line of that event, once there is one. */
  line(event: string): Promise<LogLine>;
}

/** Collects lines as they are written. */
export function captureLog(level: Config['logLevel']): { log: LogLine[]; logger: Logger } {
  const log: LogLine[] = [];
  const destination = new Writable({
    decodeStrings: false,
    write: (line, _encoding, done) => {
      log.push(JSON.parse(String(line)));
      done();
    },
  });
  return { log, logger: createLogger({ level, format: 'json', destination }) };
}

/** Starts it; `inspection` is what the files are said to hold. */
export async function startFake(
  config: Config,
  inspection?: () => Inspection,
): Promise<RunningFake> {
  const { log, logger } = captureLog(config.logLevel);
  const created: FakeDataPlane[] = [];
  const proxy = await startProxy(config, {
    logger,
    createDataPlane: async (options, onEvent) => {
      const dataPlane = new FakeDataPlane(options, onEvent);
      dataPlane.inspection = inspection ?? dataPlane.inspection;
      created.push(dataPlane);
      return dataPlane;
    },
  });
  const [dataPlane] = created;
  if (dataPlane === undefined) {
    throw new Error('no data plane was created');
  }
  const line = (event: string) =>
    vi.waitFor(
      () => {
        const found = log.find((candidate) => candidate['event'] === event);
        if (found === undefined) {
          throw new Error(`no ${event} in ${JSON.stringify(log)}`);
        }
        return found;
      },
      { timeout: 30_000, interval: 5 },
    );
  return { proxy, dataPlane, log, line };
}
