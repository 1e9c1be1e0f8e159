/**
 * SQL for whether `u`, a row of the outbox, is of one of the wallets that `rows` name under the alias `k`.
 *
 * A list that was empty when Postgres last looked at it, as most are, is expected to have one row, and joined with the wallets it would be read
 * whole and each of its rows compared with all of them. A condition is tried by hash, and its first part finds the rows by their key.
 * On Citus, whose nodes plan each statement for its own values, such statements go on joining.
 * @param same what else of the row has to be as in which column of `rows`
 */
export function isInOutbox(merchantId: string, rows: string, same: Readonly<Record<string, string>> = {}): string {
  const own = ['customer_id', 'currency', ...Object.keys(same)].map((name) => `u.${name}`);
  const given = ['customer_id', 'currency', ...Object.values(same)].map((name) => `k.${name}`);
  return `u.merchant_id = ${merchantId} and u.customer_id = any (array(select k.customer_id from ${rows}))
      and ((${own.join(', ')}) in (select ${given.join(', ')} from ${rows})) is true`;
}

/**
 * SQL for whether `w` is the wallet of `u`, a row of the outbox. With a merchant that is known from the parameter, or from `u` as it is, Postgres would
 * not look the wallet up by its key: of a list that it expects to have one row, it takes all of the merchant's wallets to be as near.
 */
export const WALLET_OF_NEWS =
  "w.merchant_id = u.merchant_id || '' and w.customer_id = u.customer_id and w.currency = u.currency";
