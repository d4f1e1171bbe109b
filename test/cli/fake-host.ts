/** A process and the modules of the command line, as fakes that remember what happened to them. */
import { type Logger, pino } from 'pino';
import type { CliHost, CliModules, CliSignal } from '../../src/cli/host.ts';
import type { CertificateIdentity, CertificateInspection } from '../../src/cli/validate.ts';

/** The clock of every fake: 2026-01-01. */
export const NOW_MILLIS: number = Date.UTC(2026, 0, 1);

/** A leaf that is valid for 90 more days. */
export const IDENTITY: CertificateIdentity = {
  routeId: 0,
  role: 'listener',
  path: 'listener.ssl_cert_file[0]',
  hostnames: [],
  file: '/tls.crt',
  subject: 'CN=db.example.com',
  sans: ['DNS:db.example.com', 'IP:192.0.2.7'],
  issuer: 'CN=Test CA',
  chainLength: 2,
  notBeforeSeconds: NOW_MILLIS / 1000 - 86_400,
  notAfterSeconds: NOW_MILLIS / 1000 + 90 * 86_400,
  sha256: 'ab'.repeat(32),
  staple: null,
};

/** What a test wants to differ. */
export interface FakeSettings {
  readonly inspection?: CertificateInspection;
  readonly startError?: Error;
  readonly nativeError?: Error;
  readonly reloadError?: Error;
  readonly successorError?: Error;
  /** Reading the binding's facts fails, while its module loads. */
  readonly buildInfoError?: Error;
  /** What the doctor reads, by path. */
  readonly files?: Readonly<Record<string, string>>;
  readonly isTerminal?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
}

/** The fakes, and what they saw. */
export class FakeProcess {
  stdout = '';
  stderr = '';
  readonly calls: string[] = [];
  readonly exits: number[] = [];
  readonly logLines: Record<string, unknown>[] = [];
  readonly host: CliHost;
  readonly modules: CliModules;
  readonly #handlers = new Map<CliSignal, () => void>();
  #drained: () => void = () => undefined;
  #onStarted: () => void = () => undefined;
  /** Resolves when the proxy or the demo has been started. */
  readonly started: Promise<void>;

  constructor(settings: FakeSettings = {}) {
    this.started = new Promise((resolve) => {
      this.#onStarted = resolve;
    });
    this.host = {
      environment: settings.environment ?? {},
      machine: {
        platform: 'linux',
        architecture: 'x64',
        kernel: '6.1.0',
        nodeVersion: '20.0.0',
        read: (path) => settings.files?.[path] ?? null,
      },
      isTerminal: () => settings.isTerminal ?? false,
      write: (text) => {
        this.stdout += text;
      },
      writeError: (text) => {
        this.stderr += text;
      },
      onSignal: (signal, handler) => {
        this.#handlers.set(signal, handler);
      },
      exit: (code) => {
        this.exits.push(code);
      },
      nowMillis: () => NOW_MILLIS,
      pid: 4711,
      monotonicMicros: () => 0n,
      launchSuccessor: () => {
        this.calls.push('launch');
        return {
          pid: 4242,
          ready: settings.successorError
            ? Promise.reject(settings.successorError)
            : Promise.resolve(),
          kill: () => this.calls.push('kill'),
        };
      },
    };
    this.modules = this.#fakeModules(settings);
  }

  /** Sends a signal. */
  signal(signal: CliSignal): void {
    this.#handlers.get(signal)?.();
  }

  /** Lets the drain end. */
  finishDrain(): void {
    this.#drained();
  }

  #fakeModules(settings: FakeSettings): CliModules {
    return {
      loadNative: () =>
        settings.nativeError
          ? Promise.reject(settings.nativeError)
          : Promise.resolve(this.#native(settings)),
      createLogger: ({ level, format }) => {
        this.calls.push(`createLogger ${level} ${format}`);
        return Promise.resolve(this.#logger());
      },
      flushLog: () => {
        this.calls.push('flushLog');
        return Promise.resolve();
      },
      startProxy: () => this.#startProxy(settings),
      runDemo: async ({ stop, logLevel }) => {
        this.calls.push(`demo ${logLevel}`);
        this.#onStarted();
        await new Promise((resolve) => {
          stop.addEventListener('abort', resolve);
        });
        return 0;
      },
    };
  }

  #native({
    inspection = { problems: [], warnings: [], identities: [], dated: [] },
    buildInfoError,
  }: FakeSettings) {
    return {
      inspectConfig: () => Promise.resolve(inspection),
      buildInfo: () => {
        if (buildInfoError !== undefined) {
          throw buildInfoError;
        }
        const versions = { version: '1', rustls: '0.23', provider: 'aws-lc-rs', target: 't' };
        return { ...versions, cpuFeatures: ['aes'] };
      },
      notify: () => false,
      boundAddress: () => null,
      libcVersion: () => 'glibc 2.36',
      bindingFile: () => '/pgtls.linux-x64-gnu.node',
    };
  }

  #logger(): Logger {
    const write = (line: string) => {
      this.logLines.push(JSON.parse(line));
    };
    return pino({ base: null, timestamp: false }, { write });
  }

  async #startProxy({ startError }: FakeSettings) {
    if (startError !== undefined) {
      throw startError;
    }
    this.calls.push('start');
    this.#onStarted();
    return {
      reload: async () => {
        this.calls.push('reload');
      },
      whileUnchanged: (work: () => Promise<void>) => work(),
      passedSockets: () => [],
      retire: async () => {
        this.calls.push('retire');
      },
      drain: () => {
        this.calls.push('drain');
        return new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
      },
      close: async () => {
        this.calls.push('close');
      },
    };
  }
}
