/**
 * Addresses that cannot be bound, as errors of the configuration file: placed at the key that names them.
 */
import { type Finding, formatDiagnostic, type KeyPath } from '../config/diagnostics.ts';
import { placeInFile } from '../config/parse.ts';
import type { BindAddress, Config } from '../config/schema.ts';
import { PgtlsError } from '../errors.ts';

/** Addresses that cannot be bound are errors of the file, placed at their keys. */
export async function startPlaced<Started>(
  configPath: string,
  config: Config,
  start: () => Promise<Started>,
): Promise<Started> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof PgtlsError && error.code === 'PGTLS_BIND_FAILED')) {
      throw error;
    }
    const failures = error.cause instanceof AggregateError ? error.cause.errors : [error];
    const findings = failures.map((failure) => bindFinding(failure, config));
    const lines = placeInFile(configPath, findings).map((diagnostic) =>
      formatDiagnostic(configPath, diagnostic),
    );
    throw new PgtlsError(error.code, lines.join('\n'), { cause: error });
  }
}

function bindFinding(failure: unknown, config: Config): Finding {
  const { message, cause } = failure instanceof Error ? failure : new Error(String(failure));
  return { path: bindPath(cause, config), message, suggestion: null };
}

/** The key of the address that Node's error names; the file as a whole when it names none. */
function bindPath(cause: unknown, config: Config): KeyPath {
  const { address, hostname, port } = (cause ?? {}) as NodeListenError;
  const isAt = (bind: BindAddress) =>
    bind.kind === 'unix'
      ? bind.path === address
      : bind.host === hostname || (bind.host === address && bind.port === port);
  if (config.admin !== null && isAt(config.admin.bindAddress)) {
    return ['admin', 'bind_address'];
  }
  for (const [index, { listener }] of config.proxies.entries()) {
    const bind = listener.bindAddresses.findIndex(isAt);
    if (bind >= 0) {
      return ['proxy', index, 'listener', 'bind_address', bind];
    }
  }
  return [];
}

/** What `listen` fails with: the address as resolved, or the name that was not. */
interface NodeListenError {
  readonly address?: string;
  readonly hostname?: string;
  readonly port?: number;
}
