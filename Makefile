# Each target does the set-up it needs first; what is already in place takes a second or two.
# Extra arguments: make test ARGS="-k launch", make demo ARGS="--help", make bench ARGS="ik".

.PHONY: setup demo test bench clean

setup:
	@scripts/set_up.sh

demo: setup
	@.venv/bin/humanoid demo $(ARGS)

# Training, clusters and the operator's page are tested too: with PyTorch, Ray and a browser, which nothing that runs on the robot needs.
test:
	@scripts/set_up.sh train ray browser
	@scripts/test.sh $(ARGS)

bench: setup
	@scripts/set_up.sh bench || echo "bench: the peers do not install here; measuring without them" >&2
	@.venv/bin/humanoid bench $(or $(ARGS),all)

clean:
	rm -rf .venv build out *.egg-info
