/**
 * loadInspectedObject: an object of the shape of the file becomes a {@link Config}, by the very readers of the file.
 *
 * May import the other files of config/ only. Invariant: what is given is copied before it is read, so that nobody changes it afterwards.
 */
import type { TomlTableWithoutBigInt as TomlTable } from 'smol-toml';
import {
  type ConfigDiagnostic,
  ConfigError,
  type Finding,
  formatKeyPath,
  type KeyPath,
  Problems,
} from './diagnostics.ts';
import { type CertificateFindings, type InspectCertificates, inspectInto } from './inspection.ts';
import type { LoadedConfig } from './parse.ts';
import { writtenPath } from './positions.ts';
import { describe, isTable, type ReadContext, TableReader } from './table-reader.ts';
import { readTop } from './top.ts';

/** What an object is read with. */
export type ObjectContext = Omit<ReadContext, 'problems'>;

/** Deeper than any configuration; what refers to itself ends here. */
const MAX_DEPTH = 16;

/**
 * Reads `input` and the certificates it names.
 *
 * @throws ConfigError (PGTLS_CONFIG_INVALID) with all errors, by key path; whatever `inspect` throws when the rest is right.
 */
export async function loadInspectedObject<Found extends CertificateFindings>(
  input: unknown,
  context: ObjectContext,
  inspect: InspectCertificates<Found>,
): Promise<LoadedConfig<Found>> {
  const table = copied(input);
  if (!isTable(table)) {
    throw invalid([{ path: [], message: `expected an object, got ${describe(input)}` }]);
  }
  const problems = new Problems();
  const config = readTop(new TableReader('top', table as TomlTable, [], { problems, ...context }));
  const inspection = await inspectInto(problems, config, inspect);
  const asWritten = ({ path, ...finding }: Finding) => ({
    ...finding,
    path: writtenPath(path, (candidate) => isThere(table, candidate)),
  });
  if (problems.errors.length > 0) {
    throw invalid(problems.presentable(problems.errors).map(asWritten));
  }
  const warnings = problems.presentable(problems.warnings).map(asWritten).map(withoutPlace);
  // It is null after errors only.
  return { config, warnings, inspection: inspection as Found };
}

/** As it is now; what is undefined is left out, what TOML has no word for stays, for the readers to refuse. */
export function copied(value: unknown, depth = 0): unknown {
  if (depth > MAX_DEPTH) {
    throw invalid([{ path: [], message: `is nested more than ${MAX_DEPTH} levels deep` }]);
  }
  if (Array.isArray(value)) {
    return value.map((element) => copied(element, depth + 1));
  }
  if (!isTable(value)) {
    return value;
  }
  const table: Record<string, unknown> = Object.create(null);
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) {
      table[key] = copied(member, depth + 1);
    }
  }
  return table;
}

/** `steps` are keys and indices of what {@link copied} made, which inherits nothing. */
function isThere(table: unknown, steps: KeyPath): boolean {
  let value: unknown = table;
  for (const step of steps) {
    value = isTable(value) || Array.isArray(value) ? Reflect.get(value, step) : undefined;
  }
  return value !== undefined;
}

function invalid(
  findings: readonly (Omit<Finding, 'suggestion'> & Partial<Finding>)[],
): ConfigError {
  return new ConfigError(
    null,
    findings.map((finding) => withoutPlace({ suggestion: null, ...finding })),
  );
}

function withoutPlace({ path, message, suggestion }: Finding): ConfigDiagnostic {
  return { keyPath: formatKeyPath(path), line: null, column: null, message, suggestion };
}
