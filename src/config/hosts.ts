/** Reads `[[proxy.listener.host]]`: identities for server names. May import the other files of config/ only. */
import { isIP } from 'node:net';
import { readIdentityFiles } from './identity-files.ts';
import type { HostConfig, ListenerSslmode } from './schema.ts';
import type { Located, TableReader } from './table-reader.ts';

/** The rows, and the backends they name with their places. */
export interface ReadHosts {
  readonly hosts: readonly HostConfig[];
  readonly backendNames: readonly Located[];
}

const MAX_NAME_LENGTH = 253;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** Reads every row; problems are noted. */
export function readHosts(listener: TableReader): ReadHosts {
  const hosts: HostConfig[] = [];
  const backendNames: Located[] = [];
  const names: Located[] = [];
  for (const reader of listener.tables('host', 'host')) {
    reader.checkKeys();
    const own = readHostnames(reader);
    const backend = reader.string('backend');
    if (backend !== null) {
      backendNames.push({ text: backend, path: reader.pathOf('backend') });
    }
    names.push(...own);
    hosts.push({
      hostnames: own.map(({ text }) => text),
      ...readFiles(reader),
      backend,
    });
  }
  checkDuplicates(listener, names);
  return { hosts, backendNames };
}

/** Notes what has no effect without TLS. */
export function warnOfUnusedHosts(listener: TableReader, sslmode: ListenerSslmode): void {
  if (sslmode === 'disable') {
    for (const key of ['host', 'no_sni', 'ssl_passphrase_command', 'ssl_ocsp_file']) {
      if (listener.has(key)) {
        const message = 'has no effect with sslmode "disable": there is no TLS';
        listener.context.problems.warn(listener.pathOf(key), message);
      }
    }
  }
}

function readHostnames(reader: TableReader): Located[] {
  const written = reader.strings('hostname');
  const value = reader.raw('hostname');
  if (value === undefined) {
    reader.error('hostname', 'missing; expected such as "db.example.com" or "*.example.com"');
  } else if (Array.isArray(value) && value.length === 0) {
    reader.error('hostname', 'expected at least one host name');
  }
  return written.flatMap(({ text, path }) => {
    const problem = hostnameProblem(text);
    if (problem !== null) {
      reader.context.problems.error(path, problem);
      return [];
    }
    return [{ text: text.toLowerCase(), path }];
  });
}

/** What keeps a server name (RFC 6066 section 3) from ever being `text`; null = nothing. */
function hostnameProblem(text: string): string | null {
  if (isIP(text) !== 0) {
    return `"${text}" is an IP address, which no client sends as server name (SNI); expected a DNS name`;
  }
  const name = text.toLowerCase().replace(/^\*\./, '');
  if (name.includes('*')) {
    return `"${text}": a wildcard stands for the whole first label, such as "*.example.com"`;
  }
  const isName =
    name.length <= MAX_NAME_LENGTH && name.split('.').every((label) => LABEL.test(label));
  return isName
    ? null
    : `"${text}" is not a DNS name; expected such as "db.example.com", without a dot at its end, international names in their ASCII form (xn--…)`;
}

function readFiles(reader: TableReader): Omit<HostConfig, 'hostnames' | 'backend'> {
  for (const key of ['ssl_cert_file', 'ssl_key_file']) {
    const isOtherThere = ['ssl_cert_file', 'ssl_key_file'].some((other) => reader.has(other));
    if (!reader.has(key) && !isOtherThere) {
      reader.error(key, 'missing; a host needs a certificate and its key');
    }
  }
  return readIdentityFiles(reader);
}

function checkDuplicates(listener: TableReader, names: readonly Located[]): void {
  const seen = new Set<string>();
  for (const { text, path } of names) {
    if (seen.has(text)) {
      listener.context.problems.error(path, `"${text}" is there twice in this listener`);
    }
    seen.add(text);
  }
}
