/** PostgreSQL's own TLS, nothing in between. */

/** @type {import('../lib/contestants.mjs').Contestant} */
export const DIRECT = {
  name: 'direct',
  kind: 'direct',
  about: 'clients with TLS straight to PostgreSQL',
  legs: ['plain'],
  missing: () => null,
  lacks: (measure, variant) => {
    if (measure !== 'connections') {
      return measure === 'small-queries' || measure === 'bulk' ? null : 'there is no proxy';
    }
    return (
      {
        rsa: "PostgreSQL's own certificate is an ECDSA one in this run",
        resumed: 'PostgreSQL resumes no sessions',
      }[variant] ?? null
    );
  },
  version: () => null,
  start: async ({ port }) => ({ pid: null, port, clientTls: true, stop: async () => undefined }),
};
