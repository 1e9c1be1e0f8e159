/**
 * Does the work of many merchants one merchant after another, since a statement is about one of them. The order is always the
 * same, so that two transactions that lock rows of several merchants cannot deadlock.
 */
export async function eachMerchant<Item extends { readonly merchantId: string }>(
  items: readonly Item[],
  work: (merchantId: string, items: readonly Item[]) => Promise<unknown>,
): Promise<void> {
  for (const [merchantId, own] of grouped(items)) await work(merchantId, own);
}

/** Like {@link eachMerchant}, and returns the rows of all merchants, in the order of the merchants. */
export async function ofEachMerchant<Item extends { readonly merchantId: string }, Result>(
  items: readonly Item[],
  read: (merchantId: string, items: readonly Item[]) => Promise<readonly Result[]>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  await eachMerchant(items, async (merchantId, own) => {
    // One by one: as arguments of one call, some hundred thousand rows are more than the stack holds.
    for (const row of await read(merchantId, own)) results.push(row);
  });
  return results;
}

/**
 * Like {@link ofEachMerchant}, for one statement a merchant in a transaction: all of them are sent before the first is answered, which takes
 * one round trip. They are carried out in their order all the same, and before any that is sent later.
 */
export async function ofEachMerchantAtOnce<Item extends { readonly merchantId: string }, Result>(
  items: readonly Item[],
  read: (merchantId: string, items: readonly Item[]) => Promise<readonly Result[]>,
): Promise<readonly Result[]> {
  return (await Promise.all(grouped(items).map(([merchantId, own]) => read(merchantId, own)))).flat();
}

function grouped<Item extends { readonly merchantId: string }>(items: readonly Item[]): [string, Item[]][] {
  return [...Map.groupBy(items, ({ merchantId }) => merchantId)].sort(([a], [b]) => (a < b ? -1 : 1));
}
