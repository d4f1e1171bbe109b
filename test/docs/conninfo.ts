/** Connection strings as libpq reads them (PostgreSQL documentation, 32.1.1): what is wrong with one, or nothing. */

/** libpq's parameters, PostgreSQL 18. */
const KEYWORDS = new Set(
  `host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding options
  application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
  replication gssencmode sslmode requiressl sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode
  sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version min_protocol_version
  max_protocol_version krbsrvname gsslib gssdelegation scram_client_key scram_server_key service target_session_attrs
  load_balance_hosts oauth_issuer oauth_client_id oauth_client_secret oauth_scope`.split(/\s+/),
);

const VALUES: Readonly<Record<string, readonly string[]>> = {
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
  channel_binding: ['disable', 'prefer', 'require'],
  sslnegotiation: ['postgres', 'direct'],
};

/** What is wrong with a string of `keyword=value` pairs; null = nothing. */
export function conninfoProblem(text: string): string | null {
  let rest = text.trim();
  while (rest !== '') {
    const [whole, keyword = '', quoted, bare] =
      /^(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s']*))(?:\s+|$)/.exec(rest) ?? [];
    if (whole === undefined) {
      return `no keyword=value: ${rest}`;
    }
    if (!KEYWORDS.has(keyword)) {
      return `invalid connection option "${keyword}"`;
    }
    const value = quoted ?? bare ?? '';
    if (VALUES[keyword]?.includes(value) === false) {
      return `invalid ${keyword} value: "${value}"`;
    }
    rest = rest.slice(whole.length);
  }
  return null;
}
