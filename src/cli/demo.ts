/**
 * `pgtls demo`: a real PostgreSQL, a certificate authority and the proxy in front of it, until it is told to stop.
 *
 * Everything lives in one temporary directory and in child processes that this file starts and ends. Output and the
 * wish to stop are injected (cli/main.ts owns stdout and signals). The packages it needs are development dependencies
 * of pgtls and loaded only here; when they are absent the one install command is in the error.
 */
import { join } from 'node:path';
import { loadConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import { createLogger } from '../proxy/process-log.ts';
import { startProxy } from '../proxy/proxy.ts';
import { createDemoCertificates } from './demo/certificate-files.ts';
import { Cleanup } from './demo/cleanup.ts';
import { portOf, preferredAdminPort, preferredPort, writeDemoConfig } from './demo/config-file.ts';
import { runFirstQuery } from './demo/first-query.ts';
import { welcomeText } from './demo/messages.ts';
import { locatePostgres } from './demo/postgres-binaries.ts';
import { PostgresCluster } from './demo/postgres-cluster.ts';
import { createTemporaryDirectory, findServerIdentity } from './demo/server-identity.ts';
import type { Style } from './style.ts';

/** What the command line hands to the demo. */
export interface DemoOptions {
  /** Writes text to stdout. */
  readonly write: (text: string) => void;
  /** How text is written there. */
  readonly style: Style;
  /** Aborted when the demo is to clean up and end (Ctrl-C, SIGTERM). */
  readonly stop: AbortSignal;
  /** Level of the proxy's log; null = warn, so that the demo's own text stays readable. */
  readonly logLevel: Config['logLevel'] | null;
  /** Format of the proxy's log; null = json. */
  readonly logFormat: Config['logFormat'] | null;
}

interface RunningDemo {
  readonly port: number;
  readonly adminPort: number;
  readonly password: string;
  readonly caFile: string;
  readonly caPem: string;
  readonly configFile: string;
}

/**
 * Runs the demo until `options.stop` is aborted and everything is cleaned up; the answer is the exit code.
 *
 * @throws PgtlsError PGTLS_START_FAILED when PostgreSQL or a package is missing or doesn't start, and whatever the
 * proxy's start throws. What was started until then has been cleaned up.
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const cleanup = new Cleanup();
  try {
    const demo = await startDemo(options, cleanup);
    const query = await runFirstQuery(demo);
    options.write(welcomeText({ ...demo, query }, options.style));
    await aborted(options.stop);
    options.write('\nStopping: sessions, PostgreSQL, temporary files.\n');
    return 0;
  } catch (error) {
    if (options.stop.aborted && error === options.stop.reason) {
      return 0;
    }
    throw error;
  } finally {
    await cleanup.run();
  }
}

async function startDemo(options: DemoOptions, cleanup: Cleanup): Promise<RunningDemo> {
  const { write, stop } = options;
  const identity = findServerIdentity();
  const directory = createTemporaryDirectory('pgtls-demo-', identity);
  cleanup.removeDirectory(directory);

  write('Starting PostgreSQL in a temporary directory …\n');
  const binaries = await locatePostgres(identity, directory);
  stop.throwIfAborted();
  const cluster = await PostgresCluster.create({
    binaries,
    identity,
    directory: join(directory, 'postgres'),
  });
  cleanup.add(() => cluster.stop());
  await cluster.start();
  stop.throwIfAborted();

  write('Making a certificate authority and a server certificate …\n');
  const certificates = await createDemoCertificates(directory);
  const adminPort = await preferredAdminPort();
  const configFile = writeDemoConfig(directory, {
    listenerPort: await preferredPort(),
    adminPort,
    backendPort: cluster.port,
    certificates,
  });
  const proxy = await startProxyOf(configFile, options);
  cleanup.add(() => proxy.close());
  cleanup.add(() => proxy.drain());
  return {
    port: portOf(proxy.addresses[0]?.address ?? ''),
    adminPort,
    password: cluster.password,
    caFile: certificates.caFile,
    caPem: certificates.caPem,
    configFile,
  };
}

function startProxyOf(configFile: string, options: DemoOptions): ReturnType<typeof startProxy> {
  const { config } = loadConfig(configFile, {});
  const logger = createLogger({
    level: options.logLevel ?? 'warn',
    format: options.logFormat ?? 'json',
  });
  return startProxy(config, { logger });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
