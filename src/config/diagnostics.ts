/**
 * What is wrong with a configuration file: diagnostics before and after they have a place, and the error that carries
 * them. May import errors.ts only.
 *
 * Invariant: reading never stops at the first problem; it is noted in {@link Problems} and a default goes on in its stead.
 */
import { normalize } from 'node:path';
import { PgtlsError } from '../errors.ts';

/** The way to a value: table names, keys and list indices from 0. */
export type KeyPath = readonly (string | number)[];

/** A problem as found: it knows the key, but not yet the line. */
export interface Finding {
  readonly path: KeyPath;
  readonly message: string;
  /** The nearest known key or value, null = none is near. */
  readonly suggestion: string | null;
}

/** A problem with its place in the file; line and column count from 1, and are null for an object. */
export interface ConfigDiagnostic {
  /** Such as `proxy[0].listener.sslmode`; empty = the configuration as a whole. */
  readonly keyPath: string;
  readonly line: number | null;
  readonly column: number | null;
  readonly message: string;
  readonly suggestion: string | null;
}

/** A shorter value is no secret, and too likely a part of other words. */
const MIN_CONCEALED_LENGTH = 4;

/** Collects what is found while a file is read. */
export class Problems {
  readonly errors: Finding[] = [];
  readonly warnings: Finding[] = [];
  /** What stands in messages in place of a value. */
  readonly #concealed = new Map<string, string>();

  /** Notes something that keeps pgtls from starting. */
  error(path: KeyPath, message: string, suggestion: string | null = null): void {
    this.errors.push({ path, message, suggestion });
  }

  /** Notes something that is allowed, but likely not wanted. */
  warn(path: KeyPath, message: string): void {
    this.warnings.push({ path, message, suggestion: null });
  }

  /** The environment variable's value may be a secret: messages say its name instead. */
  conceal(name: string, value: string): void {
    for (const form of formsOf(value)) {
      if (form.length >= MIN_CONCEALED_LENGTH) {
        this.#concealed.set(form, `\${${name}}`);
      }
    }
  }

  /** The findings without the values that are to be concealed; the longest first, of which others may be a part. */
  presentable(findings: readonly Finding[]): readonly Finding[] {
    const all = [...this.#concealed].sort(([left], [right]) => right.length - left.length);
    const withoutValues = (message: string) =>
      all.reduce((text, [value, name]) => text.replaceAll(value, () => name), message);
    return findings.map((finding) => ({ ...finding, message: withoutValues(finding.message) }));
  }
}

/** How messages may quote a value: as it is, as a string in quotes, as a path, and as host and port. */
function formsOf(value: string): string[] {
  const path = normalize(value);
  const forms = [value, path, path.replace(/\/$/, ''), ...value.split(':')];
  return forms.flatMap((form) => [form, JSON.stringify(form).slice(1, -1)]);
}

/** All errors of one configuration, thrown together (PGTLS_CONFIG_INVALID). */
export class ConfigError extends PgtlsError {
  /** The configuration file; null = an object. */
  readonly file: string | null;
  /** At least one, in the order of the file; of an object, as they were found. */
  readonly diagnostics: readonly ConfigDiagnostic[];

  constructor(
    file: string | null,
    diagnostics: readonly ConfigDiagnostic[],
    options?: { cause?: unknown },
  ) {
    const lines = diagnostics.map((diagnostic) => formatDiagnostic(file, diagnostic));
    super('PGTLS_CONFIG_INVALID', lines.join('\n'), options);
    this.name = 'ConfigError';
    this.file = file;
    this.diagnostics = diagnostics;
  }
}

/**
 * One line for people and editors: `file:line:column: key: message`, a warning with that word before the key. Without a file the
 * place is left out.
 */
export function formatDiagnostic(
  file: string | null,
  diagnostic: ConfigDiagnostic,
  severity: 'error' | 'warning' = 'error',
): string {
  const { keyPath, line, column, message, suggestion } = diagnostic;
  const word = severity === 'warning' ? 'warning: ' : '';
  const key = keyPath === '' ? '' : `${keyPath}: `;
  const hint = suggestion === null ? '' : `; did you mean "${suggestion}"?`;
  const place = file === null ? '' : `${file}:${line}:${column}: `;
  return `${place}${word}${key}${message}${hint}`;
}

/** Such as `proxy[0].listener.bind_address[1]`; a name that is no bare TOML key stands in quotes. */
export function formatKeyPath(path: KeyPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') {
      text += `[${step}]`;
    } else {
      const name = /^[\w-]+$/.test(step) ? step : JSON.stringify(step);
      text += text === '' ? name : `.${name}`;
    }
  }
  return text;
}

/** The inverse of {@link formatKeyPath} for bare keys: `listener.ssl_cert_file[1]`. */
export function parseKeyPath(text: string): KeyPath {
  const steps = text.matchAll(/\[(\d+)\]|[\w-]+/g);
  return Array.from(steps, ([name, index]) => (index === undefined ? name : Number(index)));
}
