/** Configuration texts for tests, and the listener's certificate they use. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CertificateAuthority,
  type IdentityFiles,
  type LeafOptions,
  LOCAL_NAMES,
  writeIdentity,
} from './certificates.ts';

/** Lines `key = value` of a table; strings are quoted, lists of strings too; null leaves a default of these tests out. */
export type Table = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** One route: its name and the tables it differs in. */
export interface RouteText {
  readonly name?: string;
  readonly listener?: Table;
  readonly backend: Table;
}

/** An authority, a directory for its files, and a listener certificate, for one test file. */
export class ListenerTls {
  readonly directory: string;
  readonly authority: CertificateAuthority;
  readonly caFile: string;
  readonly server: IdentityFiles;

  private constructor(directory: string, authority: CertificateAuthority, server: IdentityFiles) {
    this.directory = directory;
    this.authority = authority;
    this.server = server;
    this.caFile = join(directory, 'ca.crt');
    writeFileSync(this.caFile, authority.certPem);
  }

  /** Makes everything; {@link ListenerTls.remove} in afterAll. */
  static async create(keyType: LeafOptions['keyType'] = 'ecdsa'): Promise<ListenerTls> {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-certs-'));
    const authority = await CertificateAuthority.create('pgtls e2e CA');
    const leaf = { commonName: 'localhost', names: LOCAL_NAMES, ...(keyType && { keyType }) };
    return new ListenerTls(
      directory,
      authority,
      writeIdentity(directory, 'server', await authority.issue(leaf)),
    );
  }

  /** Options for node:tls that verify the certificate. */
  get clientOptions(): { ca: string; servername: string } {
    return { ca: this.authority.certPem, servername: 'localhost' };
  }

  /** Issues another certificate into the directory. */
  async issue(name: string, options: LeafOptions): Promise<IdentityFiles> {
    return writeIdentity(this.directory, name, await this.authority.issue(options));
  }

  /** Writes another file into the directory and returns its path. */
  write(name: string, content: string, mode = 0o644): string {
    const file = join(this.directory, name);
    writeFileSync(file, content, { mode });
    return file;
  }

  /** A configuration with these routes: TLS required on an ephemeral port unless said otherwise. */
  config(routes: readonly RouteText[], top: Table = {}): string {
    const sections = routes.map((route, index) => this.#route(route, index));
    return [tableText({ log_level: 'debug', shutdown_timeout: '5s', ...top }), ...sections].join(
      '\n',
    );
  }

  /** Removes the files. */
  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #route(route: RouteText, index: number): string {
    const listener: Table = {
      bind_address: '127.0.0.1:0',
      sslmode: 'require',
      ssl_cert_file: this.server.certFile,
      ssl_key_file: this.server.keyFile,
      ...route.listener,
    };
    return [
      '[[proxy]]',
      tableText({ name: route.name ?? `route-${index + 1}` }),
      '[proxy.listener]',
      tableText(listener),
      '[proxy.backend]',
      tableText({ sslmode: 'disable', ...route.backend }),
    ].join('\n');
  }
}

/** A TCP backend without TLS on 127.0.0.1. */
export function plainBackend(port: number): Table {
  return { address: `127.0.0.1:${port}`, sslmode: 'disable' };
}

function tableText(table: Table): string {
  return Object.entries(table)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('');
}
