/** The configuration file, read and inspected by the native side; and which version of pgtls reads it. */
import { readFileSync } from 'node:fs';
import type { ConfigDiagnostic } from '../config/diagnostics.ts';
import { loadInspectedConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import type { CliHost, CliModules } from './host.ts';
import { type DateSeverity, type JudgedInspection, judgeDates } from './validate.ts';

/** A valid configuration, with what was found in its certificates. */
export interface Loaded {
  readonly config: Config;
  readonly warnings: readonly ConfigDiagnostic[];
  readonly inspection: JudgedInspection;
}

/** Reads the file; throws PGTLS_CONFIG_INVALID with all errors of it, certificates' included. */
export async function load(
  configPath: string,
  severity: DateSeverity,
  host: CliHost,
  modules: CliModules,
): Promise<Loaded> {
  const native = await modules.loadNative();
  return loadInspectedConfig(configPath, host.environment, async (config) =>
    judgeDates(await native.inspectConfig(config), severity, host.nowMillis()),
  );
}

/** Of package.json. */
export function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return version;
}
