/**
 * `pgtls validate`: what is printed per route, and what certificates' dates mean to it and to a run.
 *
 * Pure: no I/O, the clock is an argument. May import config/ only.
 */
import { formatAddress } from '../config/address.ts';
import type { CertificateFindings, CertificateProblem } from '../config/inspection.ts';
import type {
  BackendConfig,
  Config,
  HostConfig,
  ProxyConfig,
  RouteRuleConfig,
} from '../config/schema.ts';

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

const DAY_SECONDS = 86_400;

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
export function channelBindingVerdict({
  listener,
  backend,
}: Pick<ProxyConfig, 'listener' | 'backend'>): string {
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
    return 'fine: clients without TLS are not offered SCRAM-SHA-256-PLUS';
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
  const { name, listener, backend, backends, routes } = proxy;
  const lines = [
    `route ${name}`,
    `  listens on       ${listener.bindAddresses.map(formatAddress).join(', ')}`,
    `  client TLS       sslmode=${listener.sslmode} sslnegotiation=${listener.sslnegotiation}${clientCertificates(proxy)}`,
    ...formatBackend('', backend),
    ...backends.flatMap((other) => formatBackend(` ${other.name}`, other.backend)),
    ...listener.hosts.flatMap(formatHostRoute),
    ...routes.map(formatRule),
    ...identities.flatMap((identity) => formatIdentity(identity, nowSeconds)),
    `  channel binding  ${channelBindingVerdict(proxy)}`,
    ...backends.map(
      (other) =>
        `  channel binding  with ${other.name}: ${channelBindingVerdict({ listener, backend: other.backend })}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function formatBackend(title: string, backend: BackendConfig): string[] {
  const { addresses, sslmode, sslnegotiation, sslrootcert } = backend;
  const rootcert = sslrootcert === null ? '' : ` (CAs: ${sslrootcert})`;
  return [
    `  ${`backend${title}`.padEnd(15)}  ${addresses.map(formatAddress).join(', ')}`,
    `  ${`backend${title} TLS`.padEnd(15)}  sslmode=${sslmode} sslnegotiation=${sslnegotiation}${rootcert}`,
  ];
}

function formatHostRoute({ hostnames, backend }: HostConfig): string[] {
  return backend === null
    ? []
    : [`  server name      ${hostnames.join(', ')} → backend ${backend}`];
}

function formatRule({ database, user, backend }: RouteRuleConfig): string {
  const conditions = [
    ...(database === null ? [] : [`database ${database}`]),
    ...(user === null ? [] : [`user ${user}`]),
  ];
  return `  startup          ${conditions.join(' and ')} → backend ${backend}`;
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
  const { role, file, hostnames, subject, sans, issuer, chainLength, notAfterSeconds } = identity;
  const days = Math.floor((notAfterSeconds - nowSeconds) / DAY_SECONDS);
  const purpose = role === 'listener' ? 'certificate     ' : 'certificate shown to the backend';
  const names = hostnames.length === 0 ? '' : ` for ${hostnames.join(', ')}`;
  const certificates = chainLength === 1 ? '1 certificate' : `${chainLength} certificates`;
  return [
    `  ${purpose} ${file}${names}`,
    `    subject        ${subject === '' ? '(empty)' : subject}`,
    `    SANs           ${sans.length === 0 ? '(none)' : sans.join(', ')}`,
    `    chain          ${certificates}, issued by ${issuer}`,
    `    expires        ${formatDate(notAfterSeconds)} (in ${days} days)`,
    `    SHA-256        ${identity.sha256}`,
    ...(identity.staple === null ? [] : [`    OCSP           ${formatStaple(identity.staple)}`]),
  ];
}

function formatStaple({
  status,
  nextUpdateSeconds,
}: NonNullable<CertificateIdentity['staple']>): string {
  const until = nextUpdateSeconds === null ? '' : `, until ${formatDate(nextUpdateSeconds)}`;
  return `${status}${until}`;
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

/** RFC 5280 dates reach beyond what Date holds only in broken certificates. */
function formatDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime())
    ? `${seconds} s after 1970`
    : date.toISOString().slice(0, 19).concat('Z');
}
