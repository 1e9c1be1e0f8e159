import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { idForSvix, messageIdFrom } from '../../src/outgoing/message-ids.ts';

describe('the ids of messages', () => {
  it('begin with no prefix that Svix keeps for its own ids', () => {
    expect(messageIdFrom(['bus_1', 'cus_1', 'USD', 1])).toMatch(/^whm_[0-9a-hjkmnp-tv-z]{26}$/);
  });

  it('of the first release get another prefix for Svix, the same each time and no other’s', () => {
    expect(idForSvix('msg_0123456789abcdefghjkmnpqrs')).toBe('whm_0123456789abcdefghjkmnpqrs');
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, other) => {
        expect(idForSvix(`msg_${one}`)).not.toMatch(/^msg_/);
        expect(idForSvix(`msg_${one}`) === idForSvix(`msg_${other}`)).toBe(one === other);
      }),
    );
  });

  it('of this release stay as they are', () => {
    const id = messageIdFrom(['a']);
    expect(idForSvix(id)).toBe(id);
  });
});
