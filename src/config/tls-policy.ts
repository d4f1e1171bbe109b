/** The keys of TLS policy that both sides share: protocol versions, and lists of names. May import the other files of config/ only. */
import type { TlsVersion } from './schema.ts';
import type { Located, TableReader } from './table-reader.ts';

/** Oldest and newest protocol version; null = the newest there is. */
export interface TlsVersions {
  readonly sslMinProtocolVersion: TlsVersion;
  readonly sslMaxProtocolVersion: TlsVersion | null;
}

const VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3'];
const OLD = 'it is broken (RFC 8996) and not implemented';
const OLD_VERSIONS: Readonly<Record<string, string>> = { TLSv1: OLD, 'TLSv1.1': OLD };

/** Reads ssl_min_protocol_version and ssl_max_protocol_version; an empty maximum is no limit, as in PostgreSQL. */
export function readTlsVersions(reader: TableReader): TlsVersions {
  const min = reader.choice('ssl_min_protocol_version', VERSIONS, 'TLSv1.2', OLD_VERSIONS);
  const max = reader.choice('ssl_max_protocol_version', [...VERSIONS, ''], '', OLD_VERSIONS);
  if (min === 'TLSv1.3' && max === 'TLSv1.2') {
    reader.error(
      'ssl_max_protocol_version',
      `"${max}" is older than ssl_min_protocol_version "${min}"`,
    );
  }
  return { sslMinProtocolVersion: min, sslMaxProtocolVersion: max === '' ? null : max };
}

/** Reads a list of names, or PostgreSQL's form of it: one string with colons. Repeated names are errors. */
export function readNames(
  reader: TableReader,
  key: string,
  fallback: readonly string[],
): readonly string[] {
  if (reader.raw(key) === undefined) {
    return fallback;
  }
  const names = reader.strings(key).flatMap(splitAtColons);
  names.forEach(({ text, path }, index) => {
    if (names.findIndex((other) => other.text === text) < index) {
      reader.context.problems.error(path, `"${text}" is there twice`);
    }
  });
  return names.map(({ text }) => text);
}

/** Reads ALPN protocols; direct TLS (PostgreSQL 17) demands `postgresql`. */
export function readAlpn(reader: TableReader, isDirectAllowed: boolean): readonly string[] {
  const protocols = reader.raw('alpn') === undefined ? null : reader.strings('alpn');
  for (const { text, path } of protocols ?? []) {
    if (Buffer.byteLength(text) > 255) {
      reader.context.problems.error(path, 'is longer than 255 bytes (RFC 7301)');
    }
  }
  const names = protocols?.map(({ text }) => text) ?? ['postgresql'];
  if (isDirectAllowed && !names.includes('postgresql')) {
    reader.error(
      'alpn',
      'expected "postgresql" among them: direct TLS needs it; or sslnegotiation = "postgres"',
    );
  }
  return names;
}

function splitAtColons({ text, path }: Located): Located[] {
  return text.split(':').map((part) => ({ text: part.trim(), path }));
}
