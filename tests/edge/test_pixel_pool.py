"""Buffers come back by themselves, and never while somebody still looks at them."""

from __future__ import annotations

import threading

import numpy as np

from edge.pixel_pool import PixelPool

SHAPE = (48, 64, 3)


def test_a_steady_stream_allocates_nothing():
    pool = PixelPool()
    held = [pool.take(SHAPE) for _ in range(3)]
    for number in range(100):
        held[number % 3] = pool.take(SHAPE)
    assert pool.made == 4  # three are held while the next one is taken


def test_a_buffer_is_not_used_again_while_any_part_of_it_is_referred_to():
    pool = PixelPool()
    picture = pool.take(SHAPE)
    picture[:] = 7
    corner = picture[:4, :4].T
    del picture
    for value in range(20):
        pool.take(SHAPE)[:] = value
    assert (corner == 7).all()


def test_an_array_that_views_it_through_the_buffer_protocol_counts():
    pool = PixelPool()
    picture = pool.take(SHAPE)
    picture[:] = 7
    view = np.frombuffer(memoryview(picture), np.uint8)
    del picture
    pool.take(SHAPE)[:] = 0
    assert (view == 7).all()


def test_held_buffers_beyond_those_kept_are_the_takers_alone():
    pool = PixelPool(keep=2)
    held = [pool.take(SHAPE) for _ in range(5)]
    for number, picture in enumerate(held):
        picture[:] = number
    assert [int(picture[0, 0, 0]) for picture in held] == [0, 1, 2, 3, 4]


def test_another_shape_of_another_size_starts_anew():
    pool = PixelPool()
    first = pool.take(SHAPE)
    first[:] = 1
    second = pool.take((10, 10))
    second[:] = 2
    assert second.shape == (10, 10)
    assert (first == 1).all()
    del second
    pool.take((10, 10))
    assert pool.made == 2


def test_threads_never_share_one():
    pool = PixelPool()
    clashes = []

    def use(value: int) -> None:
        for _ in range(300):
            picture = pool.take((64,))
            picture[:] = value
            if not (picture == value).all():
                clashes.append(value)

    threads = [threading.Thread(target=use, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
