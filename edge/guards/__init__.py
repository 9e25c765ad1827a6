"""What keeps the picture honest: is it live, fresh, good enough, and are its colours held?"""
