/** The manual pages, written of the tables that the program itself uses: commands and options, keys, exit codes. */

/**
 * The tables of src/ that pages are made of.
 * @typedef {typeof import('../../src/cli/commands.ts') & typeof import('../../src/config/keys.ts') & { version: string }} Tables
 */

/** Of the pages' last change that readers should know of; goes with a release. */
const DATE = '2026-11-22';
/** Of the source; the longest line that mandoc likes. */
const WIDTH = 78;

/** Pages by their path in the repository. @param {Tables} tables @returns {Record<string, string>} */
export function manPages(tables) {
  return { 'man/pgtls.1': commandPage(tables), 'man/pgtls.toml.5': filePage(tables) };
}

/** @param {Tables} tables */
function commandPage(tables) {
  const { COMMAND_NAMES, COMMANDS, OPTIONS, OPTION_HELP } = tables;
  const synopsis = COMMAND_NAMES.flatMap((name) => COMMANDS[name].usage).flatMap((line, index) => [
    ...(index === 0 ? [] : ['.br']),
    `\\fB${escaped(line.split(' ')[0] ?? '')}\\fR ${escaped(line.split(' ').slice(1).join(' '))}`,
  ]);
  const commands = COMMAND_NAMES.flatMap((name) => {
    const { usage, about, examples } = COMMANDS[name];
    return [
      `.SS "${name}"`,
      ...usage.flatMap((line) => ['.B', text(line), '.br']).slice(0, -1),
      ...about.flatMap((paragraph) => ['.PP', text(paragraph)]),
      ...examples.flatMap(({ line, what }) => ['.PP', text(`${capital(what)}:`), ...example(line)]),
    ];
  });
  const options = Object.entries(OPTIONS).flatMap(([name, option]) => {
    const { value, meaning } = OPTION_HELP[/** @type {keyof typeof OPTION_HELP} */ (name)];
    const short = 'short' in option ? `\\fB\\-${option.short}\\fR, ` : '';
    const argument = value === null ? '' : ` \\fI${value}\\fR`;
    return [
      '.TP',
      `${short}\\fB\\-\\-${escaped(name)}\\fR${argument}`,
      text(`${capital(meaning)}.`),
    ];
  });
  return page([
    title('PGTLS', 1, tables),
    '.SH NAME',
    'pgtls \\- TLS in front of PostgreSQL',
    '.SH SYNOPSIS',
    ...synopsis,
    '.SH DESCRIPTION',
    text(
      'Clients speak TLS to pgtls; pgtls speaks to PostgreSQL over a unix socket, plain TCP or TLS of its own. It knows the start-up of the protocol (SSLRequest, direct TLS, CancelRequest), so that psql and every driver connect with their usual sslmode. It is no pool: each session has a connection of its own to the server. What it does is said in a file, pgtls.toml(5).',
    ),
    '.SH COMMANDS',
    ...commands,
    '.SH OPTIONS',
    ...options,
    '.SH SIGNALS',
    ...definitions(tables.SIGNALS),
    '.SH ENVIRONMENT',
    ...definitions([
      ...tables.ENVIRONMENT,
      ['NOTIFY_SOCKET', 'where systemd is told how pgtls is'],
      ['LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES', 'the sockets that systemd passes'],
    ]),
    '.SH EXIT STATUS',
    ...definitions(tables.EXIT_MEANINGS.map((meaning, code) => [String(code), meaning])),
    '.SH SEE ALSO',
    '.BR pgtls.toml (5),',
    '.BR psql (1)',
  ]);
}

/** @param {Tables} tables */
function filePage(tables) {
  const { KEYS, TABLE_TITLES } = tables;
  const names = /** @type {(keyof typeof KEYS)[]} */ (Object.keys(KEYS));
  const sections = names.flatMap((name) => [
    `.SS "${escaped(name === 'top' ? 'Top level' : TABLE_TITLES[name])}"`,
    ...(name === 'backend'
      ? [text('Other backends, [proxy.backends.NAME], have the same keys.')]
      : []),
    ...Object.entries(KEYS[name]).flatMap(([key, { values, fallback, meaning }]) => [
      '.TP',
      `\\fB${escaped(key)}\\fR = \\fI${escaped(values)}\\fR`,
      text(meaning),
      '.br',
      text(`Default: ${fallback}`),
    ]),
  ]);
  return page([
    title('PGTLS.TOML', 5, tables),
    '.SH NAME',
    'pgtls.toml \\- configuration of pgtls',
    '.SH DESCRIPTION',
    text(
      'A TOML file. A listener is configured like a PostgreSQL server, a backend like a libpq client: the keys have their names and meanings. Paths are relative to the directory of the file. Durations are such as "250ms", "45s", "5m", "24h", "7d", or whole seconds. An unknown key is an error, and all errors of a file are reported together. A dollar sign and a name in braces, in a string, take an environment variable. "See below" means docs/config.md of pgtls, which has the rules behind these tables.',
    ),
    '.PP',
    text('Check a file with:'),
    ...example('pgtls validate pgtls.toml'),
    '.SH KEYS',
    ...sections,
    '.SH EXAMPLE',
    ...indented(`[[proxy]]
name = "orders"

[proxy.listener]
bind_address = "0.0.0.0:6432"
sslmode = "require"
ssl_cert_file = "/etc/pgtls/tls.crt"
ssl_key_file = "/etc/pgtls/tls.key"

[proxy.backend]
address = "db.example.com:5432"
sslmode = "verify-full"
sslrootcert = "/etc/pgtls/backend-ca.crt"`),
    '.SH SEE ALSO',
    '.BR pgtls (1)',
  ]);
}

/** @param {string} name @param {number} section @param {Tables} tables */
function title(name, section, { version }) {
  return `.TH "${name}" "${section}" "${DATE}" "pgtls ${escaped(version)}" "pgtls manual"`;
}

/** @param {string[]} lines */
function page(lines) {
  return `${['.\\" Written by scripts/man.mjs; change the tables in src/cli/commands.ts and src/config/keys.ts instead.', ...lines].join('\n')}\n`;
}

/** @param {readonly (readonly [string, string])[]} rows @returns {string[]} */
function definitions(rows) {
  return rows.flatMap(([term, meaning]) => [
    '.TP',
    `.B ${escaped(term)}`,
    text(`${capital(meaning)}.`),
  ]);
}

/** Lines that stand as they are, below a paragraph. @param {string} source @returns {string[]} */
function example(source) {
  return ['.PP', ...indented(source)];
}

/** @param {string} source @returns {string[]} */
function indented(source) {
  return [
    '.RS 4',
    '.EX',
    ...source.split('\n').map((line) => protect(escaped(line))),
    '.EE',
    '.RE',
  ];
}

/** Running text, filled by roff; Markdown's code marks are bold here. @param {string} source */
function text(source) {
  const marked = escaped(source).replaceAll(/`([^`]*)`/g, '\\fB$1\\fR');
  /** @type {string[]} */
  const lines = [];
  for (const word of marked.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else {
      lines.push(word);
    }
  }
  return lines.map(protect).join('\n');
}

/** A line that begins with a dot would be a request. @param {string} line */
function protect(line) {
  return line.startsWith('.') ? `\\&${line}` : line;
}

/** What roff would take for something else; hyphens of options and names are minus signs, to be copied. @param {string} source */
function escaped(source) {
  return source
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('"', '\\(dq')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti');
}

/** @param {string} source */
function capital(source) {
  return source.charAt(0).toUpperCase() + source.slice(1);
}
