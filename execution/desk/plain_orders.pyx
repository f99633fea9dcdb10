# cython: cdivision=True
"""The straight way of plain orders: what is clearly allowed is seen at once, and written at once, in whole numbers.

A plain order is a limit or market order of an instrument that trades, without trigger and protection, far enough within
every limit that nothing has to be looked at one by one. Most orders are. Whatever isn't plainly so is left to the long way
(`execution.entry`, with `execution.desk.filters` and `execution.desk.limits`), which decides and says why: here nothing
is ever refused, and nothing is changed. What is allowed here is allowed there, and written byte for byte as it is
there; tests/execution/desk/test_plain_orders.py holds the one against the other.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from engine.venue.terms import Side, SmpType, TimeInForce
from execution.desk.limits import Quote
from execution.desk.orders import NewOrder
from execution.desk.wire import Op
from schemas.names import Category

import msgspec

cdef extern from *:
    """
    typedef __int128 tb_wide;
    """
    ctypedef long long tb_wide  # of 128 bits: a price times a quantity; never made a Python number

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    MOST_DIGITS = 14  # so that a product has at most as many as Python's decimals, which the long way multiplies
    MOST_HEAD = 512
    ROOM = 2048  # a line is shorter: two heads, and seven names of at most 64 characters

cdef int64_t MOST_WINDOW_MS = 10 ** 12
cdef int64_t[MOST_DIGITS + 1] POWERS
for _power in range(MOST_DIGITS + 1):
    POWERS[_power] = 10 ** _power

cdef object _exact = Context(prec=100)
cdef object _most_wide = 10 ** 37
cdef object _decimal = Decimal
cdef object _new_order = NewOrder
cdef object _quote = Quote
cdef object _buy = Side.BUY
cdef object _post_only = TimeInForce.POST_ONLY
cdef object _no_smp = SmpType.NONE
cdef object _create = Op.CREATE
cdef object _spot = Category.SPOT
cdef object _inverse = Category.INVERSE
cdef frozenset _TRADES = frozenset(("Trading", "PreLaunch", ""))


cdef int64_t read(object number, int decimals, bint *is_cut) except -2:
    """Read a positive Decimal in places of so many decimals, without what is beyond them; -1 where it doesn't fit."""
    cdef Py_ssize_t size, i
    cdef const char *at
    cdef int64_t value = 0
    cdef int fraction = -1
    cdef bint more = False
    if type(number) is not _decimal:
        return -1
    text = str(number)
    at = PyUnicode_AsUTF8AndSize(text, &size)
    for i in range(size):
        if at[i] == 69:  # an exponent
            text = format(number, "f")
            at = PyUnicode_AsUTF8AndSize(text, &size)
            break
    for i in range(size):
        if 48 <= at[i] <= 57:
            if fraction >= decimals:
                more = more or at[i] != 48
                continue
            value = value * 10 + (at[i] - 48)
            fraction += fraction >= 0
            if value >= POWERS[MOST_DIGITS]:
                return -1
        elif at[i] == 46 and fraction < 0:
            fraction = 0
        else:
            return -1
    fraction = decimals - max(fraction, 0)
    if value >= POWERS[MOST_DIGITS - fraction]:
        return -1
    is_cut[0] = more
    return value * POWERS[fraction]


cdef bint add(object quantity, int decimals, int64_t *total) except -1:
    """Add a sum of quantities, or a little more; no, where it is negative or doesn't fit."""
    cdef bint is_cut
    cdef int64_t value = read(quantity, decimals, &is_cut)
    if value < 0:
        return False
    total[0] += value + is_cut
    return True


cdef tb_wide wide_of(object number):
    """A whole number in 128 bits; one that is larger than any product becomes one that is still larger."""
    number = min(max(number, 0), _most_wide)
    return ((<tb_wide><int64_t>(number >> 60)) << 60) + <tb_wide><int64_t>(number & ((1 << 60) - 1))


cdef object whole(object number, int decimals, object rounding):
    """A Decimal as a whole number of its last place."""
    return int(_exact.scaleb(number, decimals).to_integral_value(rounding))


cdef object least(object number, int decimals):
    return whole(number, decimals, ROUND_CEILING)


cdef object most(list numbers, int decimals):
    return min([whole(number, decimals, ROUND_FLOOR) for number in numbers if number is not None], default=_most_wide)


cdef int places(object number) except -1:
    """Decimals of a Decimal, without trailing zeros."""
    exponent = _exact.normalize(number).as_tuple().exponent
    return max(0, -exponent)


cdef char *put(char *at, bytes part):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(part)
    memcpy(at, PyBytes_AS_STRING(part), size)
    return at + size


cdef inline char *put_text(char *at, const char *text, Py_ssize_t size):
    memcpy(at, text, size)
    return at + size


cdef char *put_whole(char *at, int64_t number):
    """Write a number that isn't negative."""
    cdef char[20] digits
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + number % 10)
        count += 1
        number //= 10
        if not number:
            break
    while count:
        count -= 1
        at[0] = digits[count]
        at += 1
    return at


cdef char *put_decimal(char *at, int64_t value, int decimals):
    """Write a positive number of so many decimals as the exchange does, without trailing zeros."""
    cdef int64_t whole = value // POWERS[decimals], fraction = value % POWERS[decimals]
    at = put_whole(at, whole)
    if fraction:
        at[0] = 46
        while fraction:
            at += 1
            decimals -= 1
            at[0] = <char>(48 + fraction // POWERS[decimals])
            fraction %= POWERS[decimals]
        at += 1
    return at


cdef class Terms:
    """Filters and limits of one instrument in whole numbers: prices in places of the tick, quantities in those of the step."""

    cdef object filters
    cdef object limits
    cdef object own_most
    cdef object bucket
    cdef bint is_usable
    cdef bint is_inverse
    cdef bint is_spot
    cdef bint has_collar
    cdef bint holds_position
    cdef int price_places
    cdef int quantity_places
    cdef int64_t tick
    cdef int64_t step
    cdef tb_wide least_price
    cdef tb_wide most_price
    cdef tb_wide least_quantity
    cdef tb_wide most_quantity
    cdef tb_wide most_post_only
    cdef tb_wide most_at_market
    cdef tb_wide least_worth
    cdef tb_wide most_worth
    cdef tb_wide most_position
    cdef int64_t collar_unit
    cdef int64_t above
    cdef int64_t below
    cdef int64_t per_second
    cdef bytes head
    cdef bytes key

    def __init__(self, category, symbol, filters, limits, bucket):
        self.filters, self.limits, self.bucket = filters, limits, bucket
        self.own_most = limits.order_quantity.get(symbol)
        self.is_usable = False
        if filters.category is category and filters.symbol == symbol:
            try:
                self.is_usable = self.read_all(filters, limits)
            except (ArithmeticError, TypeError, ValueError):
                return  # no number that can be read: the long way knows what it means, or says so

    cdef bint read_all(self, filters, limits) except -1:
        """Read the numbers; no, where they aren't of sizes that orders have."""
        cdef int price_places, quantity_places, worth_places
        self.is_inverse = filters.category is _inverse
        self.is_spot = filters.category is _spot
        named = msgspec.json.encode({"category": filters.category.value, "symbol": filters.symbol})[1:-1]
        self.head = b"{" + named + b',"side":"'
        self.key = b'","op":"order.create",' + named + b',"order_id":"","link_id":"'
        price_places, quantity_places = places(filters.tick_size), places(filters.quantity_step)
        if price_places > 12 or quantity_places > 12 or len(named) > MOST_HEAD or filters.status not in _TRADES:
            return False
        if not 0 < filters.tick_size < 10 ** 6 or not 0 < filters.quantity_step < 10 ** 6:
            return False
        self.price_places, self.quantity_places = price_places, quantity_places
        self.tick = whole(filters.tick_size, price_places, ROUND_FLOOR)
        self.step = whole(filters.quantity_step, quantity_places, ROUND_FLOOR)

        worth_places = quantity_places if self.is_inverse else price_places + quantity_places
        own = self.own_most
        post_only = filters.maximum_limit if filters.maximum_post_only is None else filters.maximum_post_only
        self.least_price = wide_of(least(filters.minimum_price, price_places))
        self.most_price = wide_of(most([filters.maximum_price], price_places))
        self.least_quantity = wide_of(least(filters.minimum_quantity, quantity_places))
        self.most_quantity = wide_of(most([filters.maximum_limit, own], quantity_places))
        self.most_post_only = wide_of(most([post_only, own], quantity_places))
        self.most_at_market = wide_of(most([filters.maximum_market, own], quantity_places))
        self.least_worth = wide_of(least(filters.minimum_notional, worth_places))
        self.most_worth = wide_of(most([limits.order_notional], worth_places))
        self.holds_position = limits.position_notional is not None
        self.most_position = wide_of(most([limits.position_notional], worth_places))
        self.per_second = min(10 ** 15 if limits.requests_per_second is None else limits.requests_per_second, 10 ** 15)
        self.has_collar = limits.collar is not None
        if self.has_collar:
            if places(limits.collar) > 9:
                return False
            self.collar_unit = POWERS[places(limits.collar)]
            self.above = whole(_exact.add(1, limits.collar), places(limits.collar), ROUND_FLOOR)
            self.below = whole(_exact.subtract(1, limits.collar), places(limits.collar), ROUND_CEILING)
        return True


cdef class PlainOrders:
    """Sees whether a new order is plain, and writes it.

    Args:
        filters: by category and symbol, of what may be traded.
        gate: with the limits, and what went out in the last second.
        rates: what the exchange allows.
        account: what is held and open.
        pending: at most what requests could add.
        ids: gives names.
        quote_of: best prices of our own live book.
        is_new: whether nothing is known of an order's name.
    """

    cdef object filters
    cdef object gate
    cdef object rates
    cdef object account
    cdef object pending
    cdef object next_id
    cdef object quote_of
    cdef object is_new
    cdef dict terms

    def __init__(self, filters, gate, rates, account, pending, ids, quote_of, is_new):
        self.filters = filters
        self.gate = gate
        self.rates = rates
        self.account = account
        self.pending = pending
        self.next_id = ids.next
        self.quote_of = quote_of
        self.is_new = is_new
        self.terms = {}

    def write(self, order not None, int64_t now_ms, int64_t window_ms, int64_t line_number, int64_t now_ns):
        """Write a new order, rounded, if it is plain.

        Args:
            now_ms: the exchange's clock.
            line_number: which of the order journal its line will be.
            now_ns: our clock.

        Returns:
            The request's name (the order's, too, if that has none of its own), its line for the order journal and its
            message for the trade socket; None where it isn't plain.
        """
        cdef Terms terms
        cdef int64_t price, quantity, bid, ask, index
        cdef tb_wide unit, value  # of one coin or contract: for our limits, and for the exchange's
        cdef bint is_buy, is_cut, at_market, only_closes
        if type(order) is not _new_order or min(now_ms, now_ns, line_number) < 0 or not 0 <= window_ms < MOST_WINDOW_MS:
            return None
        category, symbol, limit = order.category, order.symbol, order.price
        amount = order.quantity
        if (
            (limit is not None and type(limit) is not _decimal)
            or type(amount) is not _decimal
            or order.trigger_price is not None
            or order.take_profit is not None
            or order.stop_loss is not None
            or order.slippage_ticks is not None
            or order.close_on_trigger
            or order.in_quote_coin
            or type(order.position_index) is not int
        ):
            return None
        at_market, only_closes = limit is None, order.reduce_only
        if at_market and category is _spot:
            return None
        name = category, symbol
        filters = self.filters.get(name)
        if filters is None:
            return None
        gate = self.gate
        limits = gate.limits
        terms = <Terms>self.terms.get(name)
        if (
            terms is None
            or terms.filters is not filters
            or terms.limits is not limits
            or terms.own_most is not limits.order_quantity.get(symbol)  # of a dictionary that anybody may change
        ):
            terms = self.terms[name] = Terms(category, symbol, filters, limits, self.rates.bucket(category, _create))
        if not terms.is_usable:
            return None
        bucket = terms.bucket
        if (
            len(gate.recent) >= terms.per_second
            or <int64_t>bucket.used >= <int64_t>bucket.limit
            or <int64_t>bucket.closed_until_ms > now_ms
        ):
            return None
        is_buy = order.side is _buy
        price = 0
        if not at_market:
            price = read(limit, terms.price_places, &is_cut)
            if price < 0:
                return None
            if price % terms.tick or is_cut:  # away from the market
                price += (0 if is_buy else terms.tick) - price % terms.tick
            if price <= 0 or price < terms.least_price or price > terms.most_price:
                return None
        quantity = read(amount, terms.quantity_places, &is_cut)
        if quantity < 0:
            return None
        quantity -= quantity % terms.step
        if (
            quantity <= 0
            or quantity < terms.least_quantity
            or quantity > (
                terms.most_at_market if at_market
                else terms.most_post_only if order.time_in_force is _post_only
                else terms.most_quantity
            )
        ):
            return None
        unit = value = price
        quote = self.quote_of(category, symbol)
        if quote is None:
            if terms.has_collar or at_market or not (is_buy or only_closes or terms.is_inverse):
                return None  # a sell is worth what the best bid says
        else:
            if type(quote) is not _quote:
                return None
            age_ms = quote.age_ms
            if type(age_ms) is not int or age_ms > limits.quote_age_ms:
                return None
            bid = read(quote.bid, terms.price_places, &is_cut)
            if bid <= 0 or is_cut:
                return None
            ask = read(quote.ask, terms.price_places, &is_cut)
            if ask <= bid or is_cut:
                return None
            if at_market:
                unit = value = ask if is_buy else bid
            elif terms.has_collar and (
                (<tb_wide>price * terms.collar_unit > <tb_wide>ask * terms.above)
                if is_buy
                else (<tb_wide>price * terms.collar_unit < <tb_wide>bid * terms.below)
            ):
                return None
            if not is_buy and bid > unit:
                unit = bid  # it trades at the best bid
        if terms.is_inverse:
            unit = value = 1  # a dollar each
        index = order.position_index
        if not only_closes:
            if value * quantity < terms.least_worth or unit * quantity > terms.most_worth:
                return None
            if terms.holds_position and not self.fits(
                terms, category, symbol, order.side, is_buy, index, unit, quantity
            ):
                return None
        return self.texts(order, terms, price, quantity, index, now_ms, window_ms, line_number, now_ns)

    cdef bint fits(
        self, Terms terms, category, symbol, side, bint is_buy, int64_t index, tb_wide unit, int64_t quantity
    ) except -1:
        """Whether a position stays within its limit whatever of what is open is filled; no, where that isn't plain."""
        cdef int64_t total = quantity
        account, pending = self.account, self.pending
        if (index == 1 and not is_buy) or (index == 2 and is_buy):
            return True  # it closes
        if terms.is_spot:
            if not is_buy:
                return True
            coin = account.coins.get(terms.filters.base_coin)
            if coin is not None and not add(coin.wallet_balance, terms.quantity_places, &total):
                return False
        else:
            held = account.held(category, symbol, index)
            # one that is the other way leaves more room, not less
            if held and (held > 0) == is_buy and not add(held.copy_abs(), terms.quantity_places, &total):
                return False
        direction = category, symbol, side, index
        known = account.exposure.get(direction)
        if known is not None and not add(known, terms.quantity_places, &total):
            return False
        if pending.unclear and (category, symbol) in pending.unclear:
            return False
        known = pending.sums.get(direction)
        if known is not None and not add(known, terms.quantity_places, &total):
            return False
        return unit * total <= terms.most_position

    cdef tuple texts(
        self,
        order,
        Terms terms,
        int64_t price,
        int64_t quantity,
        int64_t index,
        int64_t now_ms,
        int64_t window_ms,
        int64_t line_number,
        int64_t now_ns,
    ):
        cdef char[ROOM] line
        cdef char[ROOM] message
        cdef char *at
        cdef char *fields
        cdef const char *side
        cdef const char *in_force
        cdef const char *link
        cdef const char *request
        cdef const char *smp
        cdef Py_ssize_t side_size, in_force_size, link_size, request_size, smp_size, fields_size
        own, side_text, in_force_text, smp_type = order.link_id, order.side, order.time_in_force, order.smp_type
        if own and not self.is_new(order.category, own):
            return None
        request_id = self.next_id()
        link_id = own or request_id
        if not own and not self.is_new(order.category, link_id):
            return None  # somebody guessed it, and gave it to an order before
        side = PyUnicode_AsUTF8AndSize(side_text, &side_size)
        in_force = PyUnicode_AsUTF8AndSize(in_force_text, &in_force_size)
        link = PyUnicode_AsUTF8AndSize(link_id, &link_size)
        request = PyUnicode_AsUTF8AndSize(request_id, &request_size)
        smp = PyUnicode_AsUTF8AndSize(smp_type, &smp_size)
        if max(side_size, in_force_size, link_size, request_size, smp_size) > 64:
            return None

        at = put(line, b'{"n":')
        at = put_whole(at, line_number)
        at = put(at, b',"at_ns":')
        at = put_whole(at, now_ns)
        at = put(at, b',"kind":"request","request":{"request_id":"')
        at = put_text(at, request, request_size)
        at = put(at, terms.key)
        at = put_text(at, link, link_size)
        at = put(at, b'","fields":')
        fields = at
        at = put(at, terms.head)
        at = put_text(at, side, side_size)
        at = put(at, b'","orderType":"Limit","qty":"' if price else b'","orderType":"Market","qty":"')
        at = put_decimal(at, quantity, terms.quantity_places)
        if price:
            at = put(at, b'","price":"')
            at = put_decimal(at, price, terms.price_places)
            at = put(at, b'","timeInForce":"')
            at = put_text(at, in_force, in_force_size)
        else:
            at = put(at, b'","timeInForce":"IOC')
        if own:
            at = put(at, b'","orderLinkId":"')
            at = put_text(at, link, link_size)
        at = put(at, b'"')
        if index and not terms.is_spot:
            at = put(at, b',"positionIdx":')
            at = put_whole(at, index)
        if order.reduce_only:
            at = put(at, b',"reduceOnly":true')
        if smp_type is not _no_smp:
            at = put(at, b',"smpType":"')
            at = put_text(at, smp, smp_size)
            at = put(at, b'"')
        if not own:
            at = put(at, b',"orderLinkId":"')
            at = put_text(at, link, link_size)
            at = put(at, b'"')
        at = put(at, b"}")
        fields_size = at - fields
        at = put(at, b',"changed":{},"timestamp_ms":')
        at = put_whole(at, now_ms)
        at = put(at, b',"window_ms":')
        at = put_whole(at, window_ms)
        at = put(at, b',"way":"socket"}}\n')
        written = PyBytes_FromStringAndSize(line, at - line)

        at = put(message, b'{"reqId":"')
        at = put_text(at, request, request_size)
        at = put(at, b'","header":{"X-BAPI-TIMESTAMP":"')
        at = put_whole(at, now_ms)
        at = put(at, b'","X-BAPI-RECV-WINDOW":"')
        at = put_whole(at, window_ms)
        at = put(at, b'"},"op":"order.create","args":[')
        at = put_text(at, fields, fields_size)
        at = put(at, b"]}")
        return request_id, written, PyBytes_FromStringAndSize(message, at - message)
