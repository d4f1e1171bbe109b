/** A temporary directory with a configuration file and the files it names, for the tests of config/ and cli/. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type ConfigDiagnostic, ConfigError } from '../../src/config/diagnostics.ts';
import type { Environment } from '../../src/config/environment.ts';
import { type LoadedConfig, loadConfig } from '../../src/config/parse.ts';
import type { BackendConfig, ListenerConfig } from '../../src/config/schema.ts';

/** A listener that is right and warns of nothing. */
export const LISTENER = 'bind_address = "127.0.0.1:6432"';
/** A backend that is right and warns of nothing. */
export const BACKEND = 'address = "127.0.0.1:5432"';

/** Makes a directory that is gone when the test ends, with certificate files that exist and are empty. */
export function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-config-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  for (const name of ['tls.crt', 'other.crt', 'ca.crt', 'crl.pem', 'ident.map']) {
    writeFileSync(join(directory, name), '');
  }
  for (const name of ['tls.key', 'other.key']) {
    writeFileSync(join(directory, name), '', { mode: 0o600 });
    chmodSync(join(directory, name), 0o600);
  }
  return directory;
}

/** Writes the configuration file and returns its path. */
export function writeConfig(
  source: string | Uint8Array,
  directory: string = makeDirectory(),
): string {
  const file = join(directory, 'pgtls.toml');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, source);
  return file;
}

/** One route with these keys in its listener and backend. */
export function route(listener: string, backend: string = BACKEND, name = 'orders'): string {
  return `[[proxy]]\nname = "${name}"\n[proxy.listener]\n${listener}\n[proxy.backend]\n${backend}\n`;
}

/** Loads a configuration that must be right. */
export function load(source: string, environment: Environment = {}): LoadedConfig {
  return loadConfig(writeConfig(source), environment);
}

/** The listener of one route. */
export function listenerOf(listener: string, environment: Environment = {}): ListenerConfig {
  const [proxy] = load(route(`${LISTENER}\n${listener}`), environment).config.proxies;
  return required(proxy).listener;
}

/** The backend of one route. */
export function backendOf(backend: string, environment: Environment = {}): BackendConfig {
  const [proxy] = load(route(LISTENER, backend), environment).config.proxies;
  return required(proxy).backend;
}

/** Every error of a configuration that must be wrong. */
export function errorsOf(
  source: string,
  environment: Environment = {},
): readonly ConfigDiagnostic[] {
  try {
    load(source, environment);
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.diagnostics;
    }
    throw error;
  }
  return [];
}

/** `key path: message` of every error. */
export function messagesOf(source: string, environment: Environment = {}): string[] {
  return errorsOf(source, environment).map(({ keyPath, message }) => `${keyPath}: ${message}`);
}

/** `key path: message` of every error of a listener with a right address and these keys. */
export function listenerMessages(listener: string, environment: Environment = {}): string[] {
  return messagesOf(route(`${LISTENER}\n${listener}`), environment);
}

/** `key path: message` of every error of a backend with exactly these keys. */
export function backendMessages(backend: string): string[] {
  return messagesOf(route(LISTENER, backend));
}

/** `key path: message` of every warning. */
export function warningsOf(source: string): string[] {
  return load(source).warnings.map(({ keyPath, message }) => `${keyPath}: ${message}`);
}

/** The value, which must be there. */
export function required<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) {
    throw new Error('expected a value');
  }
  return value;
}
