/**
 * loadConfig and loadInspectedConfig: a TOML file becomes a {@link Config}, or one ConfigError with everything that is wrong
 * with it.
 *
 * May import the other files of config/ and errors.ts. Invariant: nothing but the file system is touched, and the parser
 * that knows positions is loaded only when there is something to place.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse, TomlError, type TomlTableWithoutBigInt } from 'smol-toml';
import { PgtlsError } from '../errors.ts';
import { type ConfigDiagnostic, ConfigError, type Finding, Problems } from './diagnostics.ts';
import type { Environment } from './environment.ts';
import { type CertificateFindings, type InspectCertificates, inspectInto } from './inspection.ts';
import { placeFindings } from './positions.ts';
import type { Config } from './schema.ts';
import { syntaxProblem } from './syntax.ts';
import { type ReadContext, TableReader } from './table-reader.ts';
import { readTop } from './top.ts';

/** A valid configuration, what is doubtful about it, and what an inspection of its certificates found. */
export interface LoadedConfig<Found = null> {
  readonly config: Config;
  /** In the order of the file. */
  readonly warnings: readonly ConfigDiagnostic[];
  /** What an inspection found, null without one. */
  readonly inspection: Found;
}

/**
 * Loads the file at `path`.
 *
 * @throws ConfigError (PGTLS_CONFIG_INVALID) with all errors; PgtlsError PGTLS_CONFIG_UNREADABLE.
 */
export function loadConfig(path: string, environment: Environment): LoadedConfig {
  const read = readConfig(path, environment, false);
  return { ...checked(path, read), inspection: null };
}

/**
 * Loads the file at `path`; the certificates it names are part of its validity.
 *
 * @throws what {@link loadConfig} does, and whatever `inspect` throws when the file itself is right.
 */
export async function loadInspectedConfig<Found extends CertificateFindings>(
  path: string,
  environment: Environment,
  inspect: InspectCertificates<Found>,
  { hasRouteHook = false }: Partial<Pick<ReadContext, 'hasRouteHook'>> = {},
): Promise<LoadedConfig<Found>> {
  const read = readConfig(path, environment, hasRouteHook);
  const inspection = await inspectInto(read.problems, read.config, inspect);
  // It is null after errors in the file only, and then this throws.
  return { ...checked(path, read), inspection: inspection as Found };
}

/** What a file says, right or wrong. */
interface ReadConfig {
  readonly source: string;
  readonly config: Config;
  readonly problems: Problems;
}

function readConfig(path: string, environment: Environment, hasRouteHook: boolean): ReadConfig {
  const source = readSource(path);
  const table = parseToml(path, source);
  const problems = new Problems();
  const directory = dirname(resolve(path));
  const context = { problems, environment, directory, hasRouteHook };
  const config = readTop(new TableReader('top', table, [], context));
  return { source, config, problems };
}

/** The configuration, unless it has errors. */
function checked(
  path: string,
  { source, config, problems }: ReadConfig,
): Pick<LoadedConfig, 'config' | 'warnings'> {
  if (problems.errors.length > 0) {
    throw new ConfigError(path, placeFindings(source, problems.presentable(problems.errors)));
  }
  return { config, warnings: placeFindings(source, problems.presentable(problems.warnings)) };
}

/** Places findings of a later time, such as an address that turned out to be in use, in the file they come from. */
export function placeInFile(path: string, findings: readonly Finding[]): ConfigDiagnostic[] {
  return placeFindings(readSource(path), findings);
}

function readSource(path: string): string {
  const bytes = readBytes(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConfigError(path, [wholeFile('is not UTF-8')], { cause });
  }
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PgtlsError('PGTLS_CONFIG_UNREADABLE', `cannot read ${path}: ${reason}`, { cause });
  }
}

function parseToml(path: string, source: string): TomlTableWithoutBigInt {
  try {
    return parse(source, { integersAsBigInt: false });
  } catch (error) {
    if (!(error instanceof TomlError)) {
      throw error;
    }
    const problem = syntaxProblem(error, source);
    // Without the parser's error as its cause: that quotes lines of the file, and the log would have them.
    throw new ConfigError(path, [{ ...wholeFile(''), ...problem }]);
  }
}

function wholeFile(message: string): ConfigDiagnostic {
  return { keyPath: '', line: 1, column: 1, message, suggestion: null };
}
