/**
 * What is written of an error that ends the program, and of warnings about the file: one line each, the same words with
 * colours and without. May import config/diagnostics.ts, errors.ts and style.ts only.
 */
import { type ConfigDiagnostic, ConfigError, formatDiagnostic } from '../config/diagnostics.ts';
import { PgtlsError, type PgtlsErrorCode } from '../errors.ts';
import type { Style } from './style.ts';

/** Errors whose message begins with file, line and column. */
const PLACED_CODES: readonly PgtlsErrorCode[] = ['PGTLS_CONFIG_INVALID', 'PGTLS_BIND_FAILED'];

/** The error for people, without a line break at its end. */
export function errorText(error: unknown, style: Style): string {
  if (error instanceof ConfigError) {
    const lines = error.diagnostics.map((diagnostic) =>
      diagnosticText(error.file, diagnostic, 'error', style),
    );
    return [...lines, ...(style.isRich ? [verdict(error, style)] : [])].join('\n');
  }
  if (error instanceof PgtlsError && PLACED_CODES.includes(error.code)) {
    return error.message;
  }
  const name = style.paint('bad', 'pgtls');
  if (error instanceof PgtlsError) {
    return `${name}: ${error.message}`;
  }
  return `${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

/** One diagnostic as {@link formatDiagnostic} writes it: the place faint, the key in a colour. */
export function diagnosticText(
  file: string | null,
  diagnostic: ConfigDiagnostic,
  severity: 'error' | 'warning',
  { isRich, paint }: Style,
): string {
  const text = formatDiagnostic(file, diagnostic, severity);
  // Without a file there is no place to set apart.
  if (!isRich || file === null) {
    return text;
  }
  const { line, column, keyPath } = diagnostic;
  const place = `${file}:${line}:${column}:`;
  const word = severity === 'warning' ? ' warning:' : '';
  const key = keyPath === '' ? '' : ` ${keyPath}:`;
  const rest = text.slice(place.length + word.length + key.length);
  const tone = severity === 'warning' ? 'doubtful' : 'bad';
  return `${paint('faint', place)}${paint(tone, word)}${paint(tone, key)}${rest}`;
}

function verdict({ file, diagnostics }: ConfigError, { paint }: Style): string {
  const count = diagnostics.length === 1 ? '1 error' : `${diagnostics.length} errors`;
  return `${paint('bad', '✗')} ${file ?? 'the configuration'} has ${count}`;
}
