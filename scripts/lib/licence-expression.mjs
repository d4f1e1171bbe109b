/** SPDX licence expressions (SPDX specification, annex D), as packages state them: whether one can be met by licences that we accept. */

/**
 * Whether `expression` can be met with `accepted` licences. `WITH` an exception is not, unless the licence and its exception are accepted
 * as such; `MIT/Apache-2.0`, an old spelling of Rust's packages, is a choice.
 * @param {string} expression @param {ReadonlySet<string>} accepted @returns {boolean}
 */
export function isAcceptable(expression, accepted) {
  const tokens = expression.replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;

  /** @param {string} token */
  const takes = (token) => {
    const found = tokens[at] === token;
    at += found ? 1 : 0;
    return found;
  };
  /** @returns {boolean} */
  const choice = () => {
    let met = conjunction();
    while (takes('OR')) {
      met = conjunction() || met;
    }
    return met;
  };
  /** @returns {boolean} */
  const conjunction = () => {
    let met = single();
    while (takes('AND')) {
      met = single() && met;
    }
    return met;
  };
  /** @returns {boolean} */
  const single = () => {
    if (takes('(')) {
      const met = choice();
      return takes(')') && met;
    }
    const licence = tokens[at] ?? '';
    at += 1;
    return accepted.has(takes('WITH') ? `${licence} WITH ${tokens[at++]}` : licence);
  };

  const met = choice();
  return met && at === tokens.length;
}
