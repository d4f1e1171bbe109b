/**
 * Addresses as they are written in the file: `host:port`, `[v6]:port`, `unix:/path`.
 *
 * Pure but for one look at whether a unix path is a directory; may import schema.ts and node only.
 */
import { statSync } from 'node:fs';
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { platform } from 'node:os';
import { join, resolve } from 'node:path';
import type { BackendAddress, BindAddress } from './schema.ts';

/** What was parsed, or what is wrong with it. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string };

/** Longest path of a unix socket in bytes: sun_path without its final NUL. */
export const MAX_UNIX_PATH_BYTES: number = platform() === 'linux' ? 107 : 103;

/** Permissions of unix sockets, from the keys beside bind_address. */
export interface UnixSocketAccess {
  readonly mode: number | null;
  readonly group: string | null;
}

const DEFAULT_BACKEND_PORT = 5432;
const DEFAULT_SOCKET_NAME = '.s.PGSQL.5432';
const UNIX_PREFIX = 'unix:';

/** Parses an address to listen on; port 0 lets the kernel choose. */
export function parseBindAddress(
  text: string,
  directory: string,
  access: UnixSocketAccess,
): Parsed<BindAddress> {
  if (text.startsWith(UNIX_PREFIX)) {
    const socket = parseUnixPath(text, directory);
    if (socket.ok && isDirectory(socket.value)) {
      return failure(
        `"${socket.value}" is a directory; name the socket in it, such as .s.PGSQL.6432`,
      );
    }
    return socket.ok ? success({ kind: 'unix', path: socket.value, ...access }) : socket;
  }
  const parts = splitHostPort(text);
  if (!parts.ok) {
    return parts;
  }
  const { host, port } = parts.value;
  if (port === null) {
    return failure(`"${text}" has no port; expected host:port, such as "${text}:6432"`);
  }
  return tcpAddress(host, port, 0);
}

/** Parses an address to connect to; the port is 5432 when there is none, a directory gets libpq's socket name. */
export function parseBackendAddress(text: string, directory: string): Parsed<BackendAddress> {
  if (text.startsWith(UNIX_PREFIX)) {
    const path = parseUnixPath(text, directory);
    const isInDirectory = path.ok && isDirectory(path.value);
    const socket = isInDirectory ? lengthChecked(join(path.value, DEFAULT_SOCKET_NAME)) : path;
    return socket.ok ? success({ kind: 'unix', path: socket.value }) : socket;
  }
  const parts = splitHostPort(text);
  if (!parts.ok) {
    return parts;
  }
  const { host, port } = parts.value;
  return tcpAddress(host, port ?? String(DEFAULT_BACKEND_PORT), 1);
}

/** The address as it is written in the file. */
export function formatAddress(address: BindAddress | BackendAddress): string {
  if (address.kind === 'unix') {
    return `${UNIX_PREFIX}${address.path}`;
  }
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** Whether nobody on another machine is at the other end: loopback or a unix socket. */
export function isLocalAddress(address: BindAddress | BackendAddress): boolean {
  if (address.kind === 'unix' || address.host === 'localhost') {
    return true;
  }
  return isIPv4(address.host)
    ? address.host.startsWith('127.')
    : isIPv6Host(address.host) && loopback().check(address.host, 'ipv6');
}

/** Whether two addresses to listen on exclude each other: the same, or one the wildcard of the other's family. */
export function isSameBind(left: BindAddress, right: BindAddress): boolean {
  if (left.kind === 'unix' || right.kind === 'unix') {
    return left.kind === 'unix' && right.kind === 'unix' && left.path === right.path;
  }
  if (left.port !== right.port || left.port === 0) {
    return false;
  }
  if (left.host.toLowerCase() === right.host.toLowerCase()) {
    return true;
  }
  const family = isIP(left.host);
  return (
    family !== 0 && family === isIP(right.host) && (isWildcard(left.host) || isWildcard(right.host))
  );
}

/** What is wrong with an entry of allow or deny, null = nothing. */
export function cidrProblem(text: string): string | null {
  const [address = '', prefix, ...rest] = text.split('/');
  const bits = isIPv4(address) ? 32 : 128;
  if (isIP(address) === 0 || address.includes('%') || rest.length > 0) {
    return `"${text}" is no CIDR; expected such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"`;
  }
  if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)) {
    return `"${text}" has a wrong prefix length; expected 0 to ${bits}`;
  }
  return null;
}

/** `::1` in each of its spellings. */
function loopback(): BlockList {
  const list = new BlockList();
  list.addAddress('::1', 'ipv6');
  return list;
}

/** As `isIPv6`, whose first call costs 10 ms on Node.js 20: nothing without a colon is asked. */
function isIPv6Host(host: string): boolean {
  return host.includes(':') && isIPv6(host);
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function splitHostPort(text: string): Parsed<{ host: string; port: string | null }> {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) {
    const [, host = '', port] = bracketed;
    return isIPv6(host)
      ? success({ host, port: port ?? null })
      : failure(`"[${host}]" is no IPv6 address; expected such as "[::1]:5432"`);
  }
  if (text.startsWith('/')) {
    return failure(`expected a unix socket to be written "unix:${text}"`);
  }
  const [scheme = '', authority] = text.split('://');
  if (authority !== undefined) {
    // The rest may hold a password.
    return failure(`"${scheme}://…" is a URL; expected host:port, "[v6]:port" or "unix:/path"`);
  }
  const [host = '', port, ...rest] = text.split(':');
  if (rest.length > 0) {
    return failure(
      `"${text}" has more than one colon; expected an IPv6 address in brackets, such as "[::1]:5432"`,
    );
  }
  return hostProblem(host) ?? success({ host, port: port ?? null });
}

function hostProblem(host: string): { ok: false; message: string } | null {
  if (host === '' || host === '*') {
    return failure('the host is missing; for all addresses write 0.0.0.0 or [::]');
  }
  const isWrongNumber = /^[\d.]+$/.test(host) && !isIPv4(host);
  if (isWrongNumber || host.length > 253 || !/^[a-z\d_]([\w.-]*)$/i.test(host)) {
    return failure(`"${host}" is no host name and no IP address`);
  }
  return null;
}

function tcpAddress(
  host: string,
  port: string,
  min: number,
): Parsed<{ kind: 'tcp'; host: string; port: number }> {
  const number = Number(port);
  if (!/^\d{1,5}$/.test(port) || number < min || number > 65_535) {
    return failure(`"${port}" is no port; expected ${min} to 65535`);
  }
  return success({ kind: 'tcp', host, port: number });
}

function parseUnixPath(text: string, directory: string): Parsed<string> {
  const written = text.slice(UNIX_PREFIX.length);
  if (written === '' || written.startsWith('@') || written.includes('\0')) {
    return failure(`"${text}" names no socket; expected such as "unix:/run/pgtls/.s.PGSQL.5432"`);
  }
  return lengthChecked(resolve(directory, written));
}

function lengthChecked(path: string): Parsed<string> {
  const bytes = Buffer.byteLength(path);
  return bytes > MAX_UNIX_PATH_BYTES
    ? failure(
        `"${path}" is ${bytes} bytes long; a unix socket's path has at most ${MAX_UNIX_PATH_BYTES}`,
      )
    : success(path);
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    // Not to be reached now (EACCES, ELOOP): whoever binds it or connects to it tells.
    return false;
  }
}

function success<T>(value: T): { ok: true; value: T } {
  return { ok: true, value };
}

function failure(message: string): { ok: false; message: string } {
  return { ok: false, message };
}
