/**
 * The keys of every table of the file: what they take, their default, their meaning; and the keys of later versions.
 *
 * Imports nothing. docs/config.md shows these tables and a test compares the two; another one that the defaults here
 * are the defaults of the code.
 */

/** One key as documented. */
interface KeyDescription {
  /** What can stand behind the `=`. */
  readonly values: string;
  /** The default as TOML, or words when there is none. */
  readonly fallback: string;
  readonly meaning: string;
}

/** The keys of one table by name. */
export type KeyTable = Readonly<Record<string, KeyDescription>>;

/** The names of the tables whose keys are known. */
export type TableName = 'top' | 'admin' | 'proxy' | 'listener' | 'host' | 'backend' | 'route';

const key = (values: string, fallback: string, meaning: string): KeyDescription => ({
  values,
  fallback,
  meaning,
});

const TOP: KeyTable = {
  log_level: key('trace, debug, info, warn, error', '"info"', 'Lowest level that is logged.'),
  log_format: key(
    'json, pretty',
    '"json"',
    'json for machines, pretty for people (needs pino-pretty).',
  ),
  driver: key('auto, tokio', '"auto"', 'What moves the bytes; both are tokio, on epoll or kqueue.'),
  workers: key('integer', '0', 'Data-plane threads; 0 = one per CPU available to the process.'),
  max_client_conn: key('integer', '10000', 'Client connections of the whole process.'),
  max_concurrent_handshakes: key(
    'integer',
    '256',
    'TLS handshakes at a time; a login storm queues here. Fewer while CPUs are short.',
  ),
  client_login_timeout: key('duration', '"15s"', 'From accept to the first ReadyForQuery.'),
  shutdown_timeout: key(
    'duration',
    '"60s"',
    'How long sessions may go on after SIGTERM; then 57P01.',
  ),
  shutdown_delay: key(
    'duration',
    '"0s"',
    'How long new connections are still accepted after SIGTERM.',
  ),
  reload_on_change: key(
    'boolean',
    'true',
    'This file, certificates, keys and all other files that are named are read again on a change.',
  ),
  admin: key('table', 'absent', 'Metrics, health and status over HTTP: `[admin]`.'),
  proxy: key('list of tables', 'at least one', 'The routes: one `[[proxy]]` each.'),
};

const ADMIN: KeyTable = {
  bind_address: key('string', 'required', '`host:port` or `[v6]:port`.'),
  ssl_cert_file: key('path', 'none', 'Certificate chain (PEM), leaf first: HTTPS only, then.'),
  ssl_key_file: key('path', 'none', 'Its private key (PEM), not encrypted.'),
  auth_token_file: key(
    'path',
    'none',
    "File with the bearer token of `/metrics` and `/status`, a key's rights.",
  ),
};

const PROXY: KeyTable = {
  name: key('string', 'first `bind_address`', 'The label in logs; unique in the file.'),
  listener: key('table', 'required', 'Where clients connect: `[proxy.listener]`.'),
  backend: key('table', 'required', 'Where their sessions go: `[proxy.backend]`.'),
  backends: key('tables', 'none', 'Other backends: `[proxy.backends.NAME]`.'),
  route: key('list of tables', 'none', 'Who goes to which of them: one `[[proxy.route]]` each.'),
  cache: key('table', 'absent', 'Reserved; only `enabled = false` is accepted.'),
};

const LISTENER: KeyTable = {
  bind_address: key(
    'string or list',
    'required',
    '`host:port`, `[v6]:port` or `unix:/path/of/socket`.',
  ),
  unix_socket_mode: key('octal string', 'umask', 'Permissions of unix sockets, such as `"0770"`.'),
  unix_socket_group: key(
    'string',
    "the process's",
    'Group of unix sockets, a name or a number in quotes.',
  ),
  sslmode: key('disable, prefer, require, verify-ca', 'see below', 'What is demanded of clients.'),
  sslnegotiation: key('postgres, direct, any', '"any"', 'How clients may start TLS.'),
  ssl_cert_file: key('path or list', 'none', 'Certificate chains (PEM), leaf first.'),
  ssl_key_file: key(
    'path or list',
    'none',
    'Private keys (PEM), paired by index with `ssl_cert_file`.',
  ),
  ssl_passphrase_command: key(
    'string',
    'none',
    'Prints the passphrase of encrypted keys; `%p` = a prompt.',
  ),
  ssl_ocsp_file: key(
    'path or list',
    'none',
    'OCSP responses (DER) to staple, paired by index with `ssl_cert_file`.',
  ),
  no_sni: key('default, refuse', '"default"', 'What a client without server name (SNI) gets.'),
  host: key(
    'list of tables',
    'none',
    'Certificates by server name: one `[[proxy.listener.host]]` each.',
  ),
  ssl_ca_file: key('path', 'none', 'CAs of client certificates; a shown certificate is verified.'),
  ssl_crl_file: key('path', 'none', 'CRLs (PEM) of client certificates; needs `ssl_ca_file`.'),
  user_map_file: key(
    'path',
    'none',
    "Which users client certificates may log in as, in pg_ident.conf's format; needs `ssl_ca_file`.",
  ),
  ssl_min_protocol_version: key('TLSv1.2, TLSv1.3', '"TLSv1.2"', 'Oldest version offered.'),
  ssl_max_protocol_version: key(
    'TLSv1.2, TLSv1.3, ""',
    '""',
    'Newest version offered; empty = no limit.',
  ),
  ssl_ciphers: key('list', '[]', "Cipher suites by IANA or OpenSSL name; empty = the provider's."),
  ssl_groups: key(
    'list',
    '["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"]',
    'Key exchange groups, preferred first.',
  ),
  alpn: key('list', '["postgresql"]', 'Protocols accepted by ALPN; direct TLS needs `postgresql`.'),
  session_tickets: key(
    'integer',
    '0',
    'TLS 1.3 tickets sent per handshake, 8 at most; 0 = no session is resumed.',
  ),
  ticket_key_file: key('path', 'none', 'Keys of tickets, shared by instances; see below.'),
  ticket_rotation: key('duration', '"6h"', 'Of generated ticket keys; also how long tickets last.'),
  cert_refresh_interval: key(
    'duration',
    '"24h"',
    'Certificate files are re-read at least this often.',
  ),
  max_client_conn: key('integer', '0', 'Client connections of this route; 0 = the global limit.'),
  max_client_conn_per_ip: key(
    'integer',
    '0',
    'Client connections per client address; 0 = no limit.',
  ),
  conn_rate_per_ip: key(
    'integer',
    '0',
    'New connections per second and client address; as many may come at once; 0 = no limit.',
  ),
  allow: key('list of CIDR', '[]', 'Client addresses that may connect; empty = all.'),
  deny: key('list of CIDR', '[]', 'Client addresses that may not; wins over `allow`.'),
  proxy_protocol: key(
    'off, require',
    '"off"',
    'Whether each connection begins with a PROXY header (version 1 or 2).',
  ),
  trusted_proxies: key(
    'list of CIDR',
    '[]',
    'Load balancers whose PROXY headers are believed; `"unix:"` = unix sockets.',
  ),
  listen_backlog: key('integer', '4096', 'Connections the kernel queues before accept.'),
  so_reuseport: key(
    'boolean',
    'false',
    'TCP ports are shared with other processes that ask for it, too; for scale-out only.',
  ),
  tcp_keepalive: key('boolean', 'true', 'TCP keepalive, on both legs as the four keys below.'),
  tcp_keepidle: key('duration', '0', 'Idle time before the first probe; 0 = system default.'),
  tcp_keepintvl: key('duration', '0', 'Time between probes; 0 = system default.'),
  tcp_keepcnt: key('integer', '0', 'Lost probes until the connection is dead; 0 = system default.'),
  tcp_user_timeout: key(
    'duration',
    '0',
    'How long sent data may stay unacknowledged; 0 = system default.',
  ),
  client_idle_timeout: key(
    'duration',
    '"0s"',
    'A session without a byte in either direction for so long is ended (57P05); 0 = never.',
  ),
  server_cert: key('path or list', 'none', 'First pgtls: `ssl_cert_file`.'),
  server_key: key('path or list', 'none', 'First pgtls: `ssl_key_file`.'),
  client_ca: key('path', 'none', 'First pgtls: `ssl_ca_file`.'),
  mtls: key('boolean', 'absent', 'First pgtls: true = `sslmode = "verify-ca"`.'),
};

const HOST: KeyTable = {
  hostname: key('string or list', 'required', 'Server names: exact, or `*.x` for one label.'),
  ssl_cert_file: key('path or list', 'required', "As the listener's."),
  ssl_key_file: key('path or list', 'required', "As the listener's."),
  ssl_ocsp_file: key('path or list', 'none', "As the listener's."),
  backend: key('string', 'by `[[proxy.route]]`', 'The name of one of `[proxy.backends]`.'),
};

const ROUTE: KeyTable = {
  database: key('pattern', 'every', 'Name of the database; `*` = any characters.'),
  user: key('pattern', 'every', 'Name of the user; `*` = any characters.'),
  backend: key('string', 'required', 'The name of one of `[proxy.backends]`.'),
};

const BACKEND: KeyTable = {
  address: key(
    'string or list',
    'required',
    '`host`, `host:port`, `[v6]:port` or `unix:/path`; tried in order.',
  ),
  sslmode: key(
    'disable, prefer, require, verify-ca, verify-full',
    'see below',
    'What is demanded of the backend.',
  ),
  sslnegotiation: key(
    'postgres, direct',
    '"postgres"',
    'How TLS is started; direct needs PostgreSQL 17.',
  ),
  sslrootcert: key('path or "system"', 'see below', 'CAs of the backend certificate.'),
  sslcrl: key(
    'path',
    'none',
    'CRLs (PEM) of backend certificates; needs `sslrootcert` to be a path.',
  ),
  sslcert: key('path', 'none', 'Client certificate shown to the backend.'),
  sslkey: key('path', 'none', 'Its private key.'),
  sslsni: key('boolean', 'true', 'Whether the host name is sent as SNI.'),
  ssl_min_protocol_version: key('TLSv1.2, TLSv1.3', '"TLSv1.2"', 'Oldest version accepted.'),
  ssl_max_protocol_version: key(
    'TLSv1.2, TLSv1.3, ""',
    '""',
    'Newest version accepted; empty = no limit.',
  ),
  connect_timeout: key('duration', '"5s"', 'From name look-up until TLS with the backend stands.'),
  load_balance_hosts: key(
    'disable, random',
    '"disable"',
    'Whether addresses, and those of one name, are tried in random order.',
  ),
  target_session_attrs: key(
    'any, read-write, read-only, primary, standby, prefer-standby',
    '"any"',
    'Which servers sessions may go to; others than any need `probe_user`.',
  ),
  probe_user: key(
    'string',
    'none',
    'Logs in to each server about once a second to learn its role.',
  ),
  probe_password_file: key(
    'path',
    'none',
    "File with the password of `probe_user`, a key's rights.",
  ),
  probe_database: key('string', '"postgres"', 'The database that `probe_user` logs in to.'),
  warm_connections: key(
    'integer',
    '0',
    'Connections kept connected and TLS-handshaken ahead; 0 = none.',
  ),
  warm_max_age: key(
    'duration',
    '"30s"',
    "When they are made anew; less than the server's `authentication_timeout`.",
  ),
  proxy_protocol: key(
    'off, v2',
    '"off"',
    'Whether each connection begins with a PROXY header that tells the client.',
  ),
  application_name_add_host: key(
    'boolean',
    'false',
    "PgBouncer's: appends the client's address to `application_name`.",
  ),
  tls_enabled: key(
    'boolean',
    'absent',
    'First pgtls: true = `sslmode = "verify-full"`, false = `"disable"`.',
  ),
  root_ca: key('path or "system"', 'none', 'First pgtls: `sslrootcert`.'),
  client_cert: key('path', 'none', 'First pgtls: `sslcert`.'),
  client_key: key('path', 'none', 'First pgtls: `sslkey`.'),
};

/** The keys this version knows, by table. */
export const KEYS: Readonly<Record<TableName, KeyTable>> = {
  top: TOP,
  admin: ADMIN,
  proxy: PROXY,
  listener: LISTENER,
  host: HOST,
  backend: BACKEND,
  route: ROUTE,
};

/** How each table is written, for messages. */
export const TABLE_TITLES: Readonly<Record<TableName, string>> = {
  top: 'the top level',
  admin: '[admin]',
  proxy: '[[proxy]]',
  listener: '[proxy.listener]',
  host: '[[proxy.listener.host]]',
  backend: '[proxy.backend]',
  route: '[[proxy.route]]',
};
