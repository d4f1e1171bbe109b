/**
 * `pgtls validate`: what is printed per route, and what certificates' dates mean to it and to a run.
 *
 * Pure: no I/O, the clock is an argument. May import config/ only.
 */
import { formatAddress } from '../config/address.ts';
import type { CertificateFindings, CertificateProblem } from '../config/inspection.ts';
import type { Config, ProxyConfig } from '../config/schema.ts';

/** The leaf certificate of one identity, as the addon's `inspect` tells it. */
export interface CertificateIdentity {
  readonly routeId: number;
  /** `listener`, or `backend` for the certificate shown to a backend. */
  readonly role: string;
  readonly file: string;
  readonly subject: string;
  readonly sans: readonly string[];
  readonly issuer: string;
  readonly chainLength: number;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
  readonly sha256: string;
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
  readonly identities: readonly CertificateIdentity[];
  readonly dated: readonly DatedEntry[];
}

/** Problems and identities, with the dates judged. */
export interface JudgedInspection extends CertificateFindings {
  readonly identities: readonly CertificateIdentity[];
}

/** How severe a certificate is that isn't valid now: `validate` refuses it, a run goes on as PostgreSQL does. */
export type DateSeverity = 'error' | 'warning';

const DAY_SECONDS = 86_400;

/** Adds what the certificates' dates say to an inspection. */
export function judgeDates(
  config: Config,
  { problems, identities, dated: entries }: CertificateInspection,
  severity: DateSeverity,
  nowMillis: number,
): JudgedInspection {
  const dated = identities.flatMap((identity) => {
    const message = dateProblem(identity, nowMillis / 1000);
    const { routeId } = identity;
    return message === null ? [] : [{ routeId, path: keyOf(config, identity), message }];
  });
  const { problems: certain, warnings } = judgeEntries(entries, nowMillis / 1000);
  return severity === 'error'
    ? { problems: [...problems, ...dated, ...certain], warnings, identities }
    : { problems, warnings: [...dated, ...certain, ...warnings], identities };
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

/** The report on a valid configuration: one paragraph per route. */
export function formatRoutes(
  config: Config,
  identities: readonly CertificateIdentity[],
  nowMillis: number,
): string {
  const paragraphs = config.proxies.map((proxy, routeId) => {
    const own = identities.filter((identity) => identity.routeId === routeId);
    return formatRoute(proxy, own, nowMillis / 1000);
  });
  return paragraphs.join('\n');
}

/**
 * Whether SCRAM-SHA-256-PLUS can work through this route.
 *
 * Channel binding ties the password exchange to the certificate that the client sees; a terminator shows its own, so it
 * works only when the backend shows the same leaf, and isn't offered at all by a backend without TLS.
 */
export function channelBindingVerdict({ listener, backend }: ProxyConfig): string {
  const isBackendEncrypted =
    backend.sslmode !== 'disable' && backend.addresses.some(({ kind }) => kind === 'tcp');
  const mayClientsEncrypt = listener.sslmode !== 'disable';
  if (!isBackendEncrypted) {
    return (
      'fine: the backend leg is plaintext, so PostgreSQL offers SCRAM-SHA-256 without -PLUS' +
      (mayClientsEncrypt ? '; channel_binding=require cannot succeed' : '')
    );
  }
  if (!mayClientsEncrypt) {
    return (
      'conflict: a backend with TLS offers SCRAM-SHA-256-PLUS, which libpq refuses on its plaintext connection; ' +
      'give the listener TLS'
    );
  }
  return (
    'conflict unless the backend shows the same leaf certificate as this listener: SCRAM-SHA-256-PLUS cannot succeed ' +
    'through a terminator; clients need channel_binding=disable, or use one certificate on both legs'
  );
}

function formatRoute(
  proxy: ProxyConfig,
  identities: readonly CertificateIdentity[],
  nowSeconds: number,
): string {
  const { name, listener, backend } = proxy;
  const rootcert = backend.sslrootcert === null ? '' : ` (CAs: ${backend.sslrootcert})`;
  const lines = [
    `route ${name}`,
    `  listens on       ${listener.bindAddresses.map(formatAddress).join(', ')}`,
    `  client TLS       sslmode=${listener.sslmode} sslnegotiation=${listener.sslnegotiation}${clientCertificates(proxy)}`,
    `  backend          ${backend.addresses.map(formatAddress).join(', ')}`,
    `  backend TLS      sslmode=${backend.sslmode} sslnegotiation=${backend.sslnegotiation}${rootcert}`,
    ...identities.flatMap((identity) => formatIdentity(identity, nowSeconds)),
    `  channel binding  ${channelBindingVerdict(proxy)}`,
  ];
  return `${lines.join('\n')}\n`;
}

function clientCertificates({ listener }: ProxyConfig): string {
  const { sslmode, sslCaFile, sslCrlFile, userMapFile } = listener;
  if (sslmode === 'disable' || sslCaFile === null) {
    return '';
  }
  const crl = sslCrlFile === null ? '' : `, CRLs: ${sslCrlFile}`;
  const map = userMapFile === null ? '' : `, user map: ${userMapFile}`;
  const demand = sslmode === 'verify-ca' ? 'demanded' : 'verified if shown';
  return `, client certificates ${demand} (CAs: ${sslCaFile}${crl}${map})`;
}

function formatIdentity(identity: CertificateIdentity, nowSeconds: number): string[] {
  const { role, file, subject, sans, issuer, chainLength, notAfterSeconds } = identity;
  const days = Math.floor((notAfterSeconds - nowSeconds) / DAY_SECONDS);
  const purpose = role === 'listener' ? 'certificate     ' : 'certificate shown to the backend';
  const certificates = chainLength === 1 ? '1 certificate' : `${chainLength} certificates`;
  return [
    `  ${purpose} ${file}`,
    `    subject        ${subject === '' ? '(empty)' : subject}`,
    `    SANs           ${sans.length === 0 ? '(none)' : sans.join(', ')}`,
    `    chain          ${certificates}, issued by ${issuer}`,
    `    expires        ${formatDate(notAfterSeconds)} (in ${days} days)`,
    `    SHA-256        ${identity.sha256}`,
  ];
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

function keyOf(config: Config, { routeId, role, file }: CertificateIdentity): string {
  if (role !== 'listener') {
    return 'backend.sslcert';
  }
  const index = config.proxies[routeId]?.listener.sslCertFiles.indexOf(file) ?? -1;
  return index < 0 ? 'listener.ssl_cert_file' : `listener.ssl_cert_file[${index}]`;
}

/** RFC 5280 dates reach beyond what Date holds only in broken certificates. */
function formatDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime())
    ? `${seconds} s after 1970`
    : date.toISOString().slice(0, 19).concat('Z');
}
