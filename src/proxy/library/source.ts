/**
 * Where an embedded proxy's configuration comes from: an object, or a file. The one place of the library that reads the process's
 * environment, for `${NAME}`.
 */
import { resolve } from 'node:path';
import { ConfigError } from '../../config/diagnostics.ts';
import type { Environment } from '../../config/environment.ts';
import type { PgtlsConfigInput } from '../../config/input.ts';
import { copied, loadInspectedObject } from '../../config/object.ts';
import { loadInspectedConfig } from '../../config/parse.ts';
import { fingerprintNow } from '../file-watch.ts';
import type { ConfigSource } from '../reload.ts';

/** A configuration file; watched, as `reload_on_change` says. */
export interface PgtlsConfigFile {
  /** Path of a pgtls.toml. */
  readonly file: string;
}

/** What a proxy is configured with: an object of the file's shape and names, or the file. */
export type PgtlsConfig = PgtlsConfigInput | PgtlsConfigFile;

/** What a source needs beside the configuration. */
export interface SourceOptions {
  /** null = the process's, as it is when the configuration is read. */
  readonly environment: Environment | null;
  /** Relative paths of an object start here. */
  readonly directory: string;
  /** Whether backends may be named by a hook. */
  readonly hasRouteHook: boolean;
}

/** Nothing is read yet, but an object is as it is now. Throws PGTLS_CONFIG_INVALID when it is neither. */
export function sourceOf(config: PgtlsConfig, options: SourceOptions): ConfigSource {
  const { hasRouteHook } = options;
  const environment = () => options.environment ?? processEnvironment();
  if (!hasFile(config)) {
    const input = copied(config);
    const directory = resolve(options.directory);
    return {
      file: null,
      load: (inspect) => {
        const context = { environment: environment(), directory, hasRouteHook };
        return loadInspectedObject(input, context, inspect);
      },
    };
  }
  const file = fileOf(config);
  return {
    file,
    load: (inspect) => loadInspectedConfig(file, environment(), inspect, { hasRouteHook }),
  };
}

/** The source as it is before its first reading, so that no change after it is missed. */
export function noted(source: ConfigSource): ConfigSource {
  return source.file === null ? source : { ...source, before: fingerprintNow([source.file]) };
}

function hasFile(config: PgtlsConfig): config is PgtlsConfigFile {
  return typeof config === 'object' && config !== null && Object.hasOwn(config, 'file');
}

function fileOf(config: PgtlsConfigFile): string {
  const { file, ...rest } = config;
  const problems = Object.keys(rest).map((key): [string, string] => [
    key,
    'has no place beside "file"',
  ]);
  if (typeof file !== 'string' || file === '') {
    problems.push(['file', 'expected the path of a configuration file']);
  }
  if (problems.length > 0) {
    const place = { line: null, column: null, suggestion: null };
    throw new ConfigError(
      null,
      problems.map(([keyPath, message]) => ({ keyPath, message, ...place })),
    );
  }
  return resolve(file);
}

function processEnvironment(): Environment {
  // biome-ignore lint/style/noProcessEnv: a configuration may name its variables
  return process.env;
}
