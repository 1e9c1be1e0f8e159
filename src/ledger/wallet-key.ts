/** What names a wallet. */

export interface CustomerKey {
  readonly merchantId: string;
  readonly customerId: string;
}

export interface WalletKey extends CustomerKey {
  readonly currency: string;
}

let lastKey = { merchantId: '', customerId: '', currency: '', text: '\0\0' };

/**
 * A text that is the same for the same wallet alone; ids hold no NUL. What decides about a command asks for that of one wallet ten times, so
 * the last one is kept: to make a text anew, and to find its place in a map, takes longer than to see that it is the same.
 */
export function walletKeyText({ merchantId, customerId, currency }: WalletKey): string {
  const { text } = lastKey;
  const isSame =
    customerId === lastKey.customerId && currency === lastKey.currency && merchantId === lastKey.merchantId;
  if (isSame) return text;
  lastKey = { merchantId, customerId, currency, text: `${merchantId}\0${customerId}\0${currency}` };
  return lastKey.text;
}
