import { z } from 'zod';
import {
  CAPTURE_RULES,
  CUSTOMER_LINK_RULES,
  DISPUTE_RULES,
  METADATA_RULES,
  PURPOSES,
  REFUND_POLICIES,
} from '../../payments/purpose.ts';
import {
  API_KEY_PATTERN,
  API_KEY_WANTED,
  WEBHOOK_SECRET_PATTERN,
  WEBHOOK_SECRET_WANTED,
} from '../../providers/secret-form.ts';
import { defaultMetadataRule } from '../../providers/shared/metadata-rule.ts';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { text } from '../../views/fields.ts';

/** What requests about sources are made of. */

export const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, { error: `wants ${values.slice(0, -1).join(', ')} or ${values.at(-1)}` });

const OBEYED_WHOLE = PROVIDER_NAMES.filter((provider) => defaultMetadataRule(provider) === 'all');
const METADATA_DEFAULTS = `all for ${OBEYED_WHOLE.join(', ')}, customer for every other provider`;

export const sourceFields = {
  name: text(200, 1),
  default_purpose: oneOf(PURPOSES).meta({ description: 'What a payment is for that does not say.' }),
  metadata: oneOf(METADATA_RULES).meta({
    description: `Which metadata of payments is obeyed: all, or customer (\`wallet_customer_id\` alone) where payers can write it themselves. A new source that names none: ${METADATA_DEFAULTS}.`,
  }),
  refunds: oneOf(REFUND_POLICIES).meta({
    description: 'What refunds do to the wallet; it counts for payments that are first heard of from now on.',
  }),
  disputes: z.enum(DISPUTE_RULES, { error: 'wants hold or record' }).meta({
    description:
      'Whether what an open dispute of a top-up may take is held until it is decided; it counts for payments that are first heard of from now on.',
  }),
  customer_link_rule: oneOf(CUSTOMER_LINK_RULES).meta({
    description:
      "Whose a payment is that names no customer. create: the one linked with the provider's customer, made if need be; linked: only one that is linked already; named: nobody's.",
  }),
  capture: z.enum(CAPTURE_RULES, { error: 'wants automatic or manual' }).meta({
    description:
      'Whether an authorisation is the money (automatic), or only what is captured of it (manual), for providers that tell both (Adyen); it counts for payments that are first heard of from now on.',
  }),
  enabled: z.boolean({ error: 'wants true or false' }).meta({ description: 'False: its deliveries are turned away.' }),
};
export const EXAMPLE_WEBHOOK_SECRET = 'whsec_as_the_dashboard_shows_it';
export const webhookSecret = z
  .string({ error: WEBHOOK_SECRET_WANTED })
  .min(6, { error: WEBHOOK_SECRET_WANTED })
  .max(500, { error: WEBHOOK_SECRET_WANTED })
  .regex(WEBHOOK_SECRET_PATTERN, { error: WEBHOOK_SECRET_WANTED })
  .meta({
    description:
      "What the provider's dashboard shows as the signing secret. Dodo's is base64 after `whsec_`, Adyen's hexadecimal.",
  });
export const apiKey = z
  .string({ error: API_KEY_WANTED })
  .regex(API_KEY_PATTERN, { error: API_KEY_WANTED })
  .meta({ description: "A key of the provider's API that may read payments, for reconciliation." });

export const chargeKey = z.string({ error: API_KEY_WANTED }).regex(API_KEY_PATTERN, { error: API_KEY_WANTED }).meta({
  description:
    "A key of Stripe's API that may charge saved payment methods (write access to PaymentIntents, read access to Customers and PaymentMethods), or of Dodo's that may charge on-demand subscriptions, for top-ups. Null: nobody is charged by this source any more.",
});

export const accounts = z.array(text(200, 1)).max(100).meta({
  description:
    "The provider's own names of the accounts it answers for. Left out of a new source, it learns its account from the first event that names one; an empty list makes it learn anew.",
});
