/**
 * What certificates' dates mean to `pgtls validate` and to a run.
 *
 * Pure: no I/O, the clock is an argument. May import config/ only.
 */
import type { CertificateFindings, CertificateProblem } from '../config/inspection.ts';

/** The leaf certificate of one identity, as the addon's `inspect` tells it. */
export interface CertificateIdentity {
  readonly routeId: number;
  /** `listener`, or `backend` for the certificate shown to a backend. */
  readonly role: string;
  /** Key path relative to `[[proxy]]`. */
  readonly path: string;
  /** The server names it is shown for; empty = all that have none of their own. */
  readonly hostnames: readonly string[];
  readonly file: string;
  readonly subject: string;
  readonly sans: readonly string[];
  readonly issuer: string;
  readonly chainLength: number;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
  readonly sha256: string;
  /** The OCSP response about it. */
  readonly staple: { readonly status: string; readonly nextUpdateSeconds: number | null } | null;
}

/** The dates of an authority or a CRL, as the addon's `inspect` tells them. */
export interface DatedEntry {
  readonly routeId: number;
  /** Key path relative to `[[proxy]]`. */
  readonly path: string;
  readonly file: string;
  readonly kind: 'authority' | 'crl';
  /** The authority's name, or the CRL's issuer's. */
  readonly subject: string;
  readonly fromSeconds: number;
  readonly untilSeconds: number;
}

/** What the addon's `inspect` returns, as far as the command line reads it. */
export interface CertificateInspection {
  readonly problems: readonly CertificateProblem[];
  readonly warnings: readonly CertificateProblem[];
  readonly identities: readonly CertificateIdentity[];
  readonly dated: readonly DatedEntry[];
}

/** Problems and identities, with the dates judged. */
export interface JudgedInspection extends CertificateFindings {
  readonly identities: readonly CertificateIdentity[];
}

/** How severe a certificate is that isn't valid now: `validate` refuses it, a run goes on as PostgreSQL does. */
export type DateSeverity = 'error' | 'warning';

/** Adds what the certificates' dates say to an inspection. */
export function judgeDates(
  { problems, warnings, identities, dated: datedEntries }: CertificateInspection,
  severity: DateSeverity,
  nowMillis: number,
): JudgedInspection {
  const dated = identities.flatMap((identity) => {
    const message = dateProblem(identity, nowMillis / 1000);
    const { routeId, path } = identity;
    return message === null ? [] : [{ routeId, path, message }];
  });
  const entries = judgeEntries(datedEntries, nowMillis / 1000);
  const [certain, doubtful] = [
    [...dated, ...entries.problems],
    [...warnings, ...entries.warnings],
  ];
  return severity === 'error'
    ? { problems: [...problems, ...certain], warnings: doubtful, identities }
    : { problems, warnings: [...certain, ...doubtful], identities };
}

/**
 * An expired CRL refuses every certificate of its issuer. An expired CA does so with those below it, which is what an old
 * one in a file of several is there for: it is an error only when no CA of the file is left.
 */
function judgeEntries(entries: readonly DatedEntry[], nowSeconds: number): CertificateFindings {
  const isCurrent = ({ fromSeconds, untilSeconds }: DatedEntry) =>
    fromSeconds <= nowSeconds && nowSeconds <= untilSeconds;
  const found = { problems: [] as CertificateProblem[], warnings: [] as CertificateProblem[] };
  for (const entry of entries.filter((candidate) => !isCurrent(candidate))) {
    const { routeId, path, kind } = entry;
    const isReplaced = entries.some(
      (other) =>
        other.routeId === routeId &&
        other.path === path &&
        isCurrent(other) &&
        (kind === 'authority' || other.subject === entry.subject),
    );
    found[isReplaced ? 'warnings' : 'problems'].push({
      routeId,
      path,
      message: outdated(entry, nowSeconds),
    });
  }
  return found;
}

function outdated(
  { kind, file, subject, fromSeconds, untilSeconds }: DatedEntry,
  nowSeconds: number,
): string {
  const what = kind === 'crl' ? `the CRL of issuer "${subject}"` : `the CA "${subject}"`;
  return untilSeconds < nowSeconds
    ? `${what} in "${file}" expired on ${formatDate(untilSeconds)}`
    : `${what} in "${file}" is not valid before ${formatDate(fromSeconds)}`;
}

function dateProblem(identity: CertificateIdentity, nowSeconds: number): string | null {
  const { file, notBeforeSeconds, notAfterSeconds } = identity;
  if (notAfterSeconds < nowSeconds) {
    return `certificate "${file}" expired on ${formatDate(notAfterSeconds)}`;
  }
  if (notBeforeSeconds > nowSeconds) {
    return `certificate "${file}" is not valid before ${formatDate(notBeforeSeconds)}`;
  }
  return null;
}

/** Such as `2026-01-01T00:00:00Z`. RFC 5280 dates reach beyond what Date holds only in broken certificates. */
export function formatDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime())
    ? `${seconds} s after 1970`
    : date.toISOString().slice(0, 19).concat('Z');
}
