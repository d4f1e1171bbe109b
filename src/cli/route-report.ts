/**
 * `pgtls validate`: the report on a valid configuration, a paragraph for each route.
 *
 * Pure: no I/O, the clock and the style are arguments. May import config/, style.ts, wrap.ts and validate.ts only.
 */
import { formatAddress } from '../config/address.ts';
import type {
  BackendConfig,
  Config,
  HostConfig,
  ProxyConfig,
  RouteRuleConfig,
} from '../config/schema.ts';
import type { Style } from './style.ts';
import { type CertificateIdentity, formatDate } from './validate.ts';
import { wrapped } from './wrap.ts';

const DAY_SECONDS = 86_400;
/** When people are reminded by a colour. */
const SOON_DAYS = 30;
const VERY_SOON_DAYS = 7;
/** Of labels, unless one is longer. */
const LABEL_WIDTH = 15;
/** Of the whole, where somebody looks at it. */
const WIDTH = 100;

/** How good the news of a line is, where it is any. */
type News = 'good' | 'doubtful' | 'bad';

/** One line of a paragraph; a detail belongs to the line above. */
interface Row {
  readonly label: string;
  readonly value: string;
  readonly isDetail: boolean;
  readonly news: News | null;
}

/** The symbols in front of news. */
const SYMBOLS: Readonly<Record<News, string>> = { good: '✓', doubtful: '!', bad: '✗' };

/** The report on a valid configuration: one paragraph per route. */
export function formatRoutes(
  config: Config,
  identities: readonly CertificateIdentity[],
  nowMillis: number,
  style: Style,
): string {
  const paragraphs = config.proxies.map((proxy, routeId) => {
    const own = identities.filter((identity) => identity.routeId === routeId);
    const rows = routeRows(proxy, own, nowMillis / 1000);
    const title = `route ${style.paint('strong', proxy.name)}`;
    return `${[title, ...renderedRows(rows, style)].join('\n')}\n`;
  });
  return paragraphs.join('\n');
}

/** The last line: that the file is valid, with how many routes and warnings where somebody looks at it. */
export function formatValid(
  file: string,
  routes: number,
  warnings: number,
  { isRich, paint }: Style,
): string {
  if (!isRich) {
    return `${file} is valid\n`;
  }
  const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;
  const doubts = warnings === 0 ? '' : `, ${paint('doubtful', count(warnings, 'warning'))}`;
  return `\n${paint('good', '✓')} ${file} is valid: ${count(routes, 'route')}${doubts}\n`;
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

function row(label: string, value: string, news: News | null = null): Row {
  return { label, value, isDetail: false, news };
}

function detail(label: string, value: string, news: News | null = null): Row {
  return { label, value, isDetail: true, news };
}

/** Labels and values in two columns; values are broken into lines where somebody looks at them. */
function renderedRows(rows: readonly Row[], { isRich, paint }: Style): string[] {
  const width = Math.max(LABEL_WIDTH, ...rows.map(({ label }) => label.length));
  const column = width + 4;
  return rows.flatMap(({ label, value, isDetail, news }) => {
    const indent = isDetail ? 4 : 2;
    const symbol = isRich && news !== null ? `${paint(news, SYMBOLS[news])} ` : '';
    const [first = '', ...rest] = isRich ? wrapped(value, WIDTH - column) : [value];
    const padded = label.padEnd(column - indent);
    return [
      `${' '.repeat(indent)}${paint('faint', padded)}${symbol}${first}`,
      ...rest.map((line) => `${' '.repeat(column)}${line}`),
    ];
  });
}

function routeRows(
  proxy: ProxyConfig,
  identities: readonly CertificateIdentity[],
  nowSeconds: number,
): Row[] {
  const { listener, backend, backends, routes } = proxy;
  return [
    row('listens on', listener.bindAddresses.map(formatAddress).join(', ')),
    row(
      'client TLS',
      `sslmode=${listener.sslmode} sslnegotiation=${listener.sslnegotiation}${clientCertificates(proxy)}`,
    ),
    ...backendRows('backend', backend),
    ...backends.flatMap((other) => backendRows(`backend ${other.name}`, other.backend)),
    ...listener.hosts.flatMap(hostRows),
    ...routes.map(ruleRow),
    ...identities.flatMap((identity) => identityRows(identity, nowSeconds)),
    bindingRow('', channelBindingVerdict(proxy)),
    ...backends.map((other) =>
      bindingRow(
        `with ${other.name}: `,
        channelBindingVerdict({ listener, backend: other.backend }),
      ),
    ),
  ];
}

function bindingRow(backend: string, verdict: string): Row {
  const news = verdict.startsWith('fine') ? 'good' : 'doubtful';
  return row('channel binding', `${backend}${verdict}`, news);
}

function backendRows(title: string, backend: BackendConfig): Row[] {
  const { addresses, sslmode, sslnegotiation, sslrootcert } = backend;
  const rootcert = sslrootcert === null ? '' : ` (CAs: ${sslrootcert})`;
  return [
    row(title, addresses.map(formatAddress).join(', ')),
    row(`${title} TLS`, `sslmode=${sslmode} sslnegotiation=${sslnegotiation}${rootcert}`),
  ];
}

function hostRows({ hostnames, backend }: HostConfig): Row[] {
  return backend === null
    ? []
    : [row('server name', `${hostnames.join(', ')} → backend ${backend}`)];
}

function ruleRow({ database, user, backend }: RouteRuleConfig): Row {
  const conditions = [
    ...(database === null ? [] : [`database ${database}`]),
    ...(user === null ? [] : [`user ${user}`]),
  ];
  return row('startup', `${conditions.join(' and ')} → backend ${backend}`);
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

function identityRows(identity: CertificateIdentity, nowSeconds: number): Row[] {
  const { role, file, hostnames, subject, sans, issuer, chainLength, notAfterSeconds } = identity;
  const days = Math.floor((notAfterSeconds - nowSeconds) / DAY_SECONDS);
  const purpose = role === 'listener' ? 'certificate' : 'backend sslcert';
  const names = hostnames.length === 0 ? '' : ` for ${hostnames.join(', ')}`;
  const certificates = chainLength === 1 ? '1 certificate' : `${chainLength} certificates`;
  const inDays = days === 1 ? 'in 1 day' : `in ${days} days`;
  return [
    row(purpose, `${file}${names}`),
    detail('subject', subject === '' ? '(empty)' : subject),
    detail('SANs', sans.length === 0 ? '(none)' : sans.join(', ')),
    detail('chain', `${certificates}, issued by ${issuer}`),
    detail('expires', `${formatDate(notAfterSeconds)} (${inDays})`, newsOfDays(days)),
    detail('SHA-256', identity.sha256),
    ...(identity.staple === null ? [] : [detail('OCSP', stapleText(identity.staple))]),
  ];
}

function newsOfDays(days: number): News {
  if (days < VERY_SOON_DAYS) {
    return 'bad';
  }
  return days < SOON_DAYS ? 'doubtful' : 'good';
}

function stapleText({
  status,
  nextUpdateSeconds,
}: NonNullable<CertificateIdentity['staple']>): string {
  const until = nextUpdateSeconds === null ? '' : `, until ${formatDate(nextUpdateSeconds)}`;
  return `${status}${until}`;
}
