/**
 * The seam to whoever can look into certificate files (the addon's `inspect`, injected): its problems become findings
 * with a key path, as any other problem of the file.
 *
 * May import the other files of config/ only.
 */
import { canonicalKey } from './aliases.ts';
import {
  type Finding,
  formatKeyPath,
  type KeyPath,
  type Problems,
  parseKeyPath,
} from './diagnostics.ts';
import type { Config } from './schema.ts';

/** A problem in a file that the configuration names. */
export interface CertificateProblem {
  /** Index in `proxies` of the inspected configuration. */
  readonly routeId: number;
  /** Key path relative to `[[proxy]]` in today's spelling, such as `listener.ssl_cert_file[1]`. */
  readonly path: string;
  readonly message: string;
}

/** What an inspection found: what keeps pgtls from starting, and what is only doubtful. */
export interface CertificateFindings {
  readonly problems: readonly CertificateProblem[];
  readonly warnings: readonly CertificateProblem[];
}

/** Looks into every file that the configuration names; rejects only when it cannot look at all. */
export type InspectCertificates<Found extends CertificateFindings> = (
  config: Config,
) => Promise<Found>;

/**
 * Inspects the routes and adds what is found to `problems`.
 *
 * After errors in the file it still inspects what was read, so that all errors come together: routes without an address
 * are left out, and so is what is said about a key that is wrong already.
 *
 * @returns null when errors in the file kept `inspect` from working at all.
 */
export async function inspectInto<Found extends CertificateFindings>(
  problems: Problems,
  config: Config,
  inspect: InspectCertificates<Found>,
): Promise<Found | null> {
  const indices = config.proxies.flatMap(({ backend }, index) =>
    backend.addresses.length > 0 ? [index] : [],
  );
  const found = await inspectIfPossible(problems, () =>
    inspect({ ...config, proxies: config.proxies.filter((_, index) => indices.includes(index)) }),
  );
  if (found !== null) {
    const wrongKeys = new Set(problems.errors.map(({ path }) => keyName(path)));
    const toFindings = (list: readonly CertificateProblem[]): Finding[] =>
      list
        .map(({ routeId, path, message }) => ({
          path: ['proxy', indices[routeId] ?? routeId, ...parseKeyPath(path)],
          message,
          suggestion: null,
        }))
        .filter(({ path }) => !wrongKeys.has(keyName(path)));
    problems.errors.push(...toFindings(found.problems));
    problems.warnings.push(...toFindings(found.warnings));
  }
  return found;
}

async function inspectIfPossible<Found>(
  problems: Problems,
  inspect: () => Promise<Found>,
): Promise<Found | null> {
  try {
    return await inspect();
  } catch (error) {
    if (problems.errors.length > 0) {
      return null;
    }
    throw error;
  }
}

/** The key in today's spelling, without an index behind it. */
function keyName(path: KeyPath): string {
  const last = path.findLastIndex((step) => typeof step === 'string');
  const [table, key] = [path.slice(0, last), path[last]];
  const canonical = typeof key === 'string' ? canonicalKey(table, key) : '';
  return formatKeyPath([...table, canonical]);
}
